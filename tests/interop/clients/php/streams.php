<?php
// PHP's own streams
require 'common.php';

function publish(string $url): void
{
    $context = stream_context_create(['http' => ['method' => 'POST', 'content' => PUBLISHED]]);
    file_get_contents($url, false, $context);
    say(['status' => (int) explode(' ', $http_response_header[0])[1]]);
}

run([
    'poll' => fn($url) => long_poll(fn($after) => @file_get_contents("$url?after=$after&wait=20")),
    'publish' => publish(...),
]);
