<?php
// PHP's curl
require 'common.php';

function sse(string $url): void
{
    $last = null;
    $buffer = '';
    for (; ; usleep(50_000)) {
        $curl = curl_init($url);
        $headers = ['Accept: text/event-stream', ...($last === null ? [] : ["Last-Event-ID: $last"])];
        curl_setopt($curl, CURLOPT_HTTPHEADER, $headers);
        curl_setopt($curl, CURLOPT_WRITEFUNCTION, function ($curl, $piece) use (&$last, &$buffer) {
            $buffer .= $piece;
            while (($end = strpos($buffer, "\n")) !== false) {
                $line = substr($buffer, 0, $end);
                $buffer = substr($buffer, $end + 1);
                if (str_starts_with($line, 'id: ')) {
                    $last = substr($line, 4);
                } elseif (str_starts_with($line, 'data: ')) {
                    say(['message' => json_decode(substr($line, 6)), 'at' => $last]);
                }
            }
            return strlen($piece);
        });
        curl_exec($curl);
        $buffer = '';
    }
}

function get(string $url, array $options = []): string|bool
{
    $curl = curl_init($url);
    curl_setopt_array($curl, $options + [CURLOPT_RETURNTRANSFER => true]);
    return curl_exec($curl);
}

function publish(string $url): void
{
    $curl = curl_init($url);
    curl_setopt_array($curl, [CURLOPT_POSTFIELDS => PUBLISHED, CURLOPT_RETURNTRANSFER => true]);
    curl_exec($curl);
    say(['status' => curl_getinfo($curl, CURLINFO_RESPONSE_CODE)]);
}

run([
    'sse' => sse(...),
    'poll' => fn($url) => long_poll(fn($after) => get("$url?after=$after&wait=20")),
    'publish' => publish(...),
]);
