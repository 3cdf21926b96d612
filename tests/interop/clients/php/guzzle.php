<?php
// Guzzle
require 'common.php';
require 'GuzzleHttp/autoload.php';

use GuzzleHttp\Client;
use GuzzleHttp\Exception\TransferException;
use GuzzleHttp\Psr7\Utils;

$client = new Client();

function lines(Client $client, string $url, string $after): iterable
{
    try {
        $headers = ['Accept' => 'application/x-ndjson'];
        $body = $client->get($url, ['query' => ['after' => $after], 'headers' => $headers, 'stream' => true])->getBody();
        while (!$body->eof()) {
            yield Utils::readLine($body);
        }
    } catch (TransferException | RuntimeException) {
        // The connection was cut.
    }
}

function page(Client $client, string $url, string $after): ?string
{
    try {
        return $client->get($url, ['query' => ['after' => $after, 'wait' => 20]])->getBody();
    } catch (TransferException) {
        return null;
    }
}

run([
    'ndjson' => fn($url) => json_lines(fn($after) => lines($client, $url, $after)),
    'poll' => fn($url) => long_poll(fn($after) => page($client, $url, $after)),
    'publish' => fn($url) => say(['status' => $client->post($url, ['body' => PUBLISHED])->getStatusCode()]),
]);
