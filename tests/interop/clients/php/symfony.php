<?php
// Symfony's HttpClient
require 'common.php';
require 'Symfony/Component/HttpClient/autoload.php';

use Symfony\Component\HttpClient\Chunk\ServerSentEvent;
use Symfony\Component\HttpClient\EventSourceHttpClient;
use Symfony\Component\HttpClient\HttpClient;
use Symfony\Contracts\HttpClient\Exception\TransportExceptionInterface;

/** It reconnects by itself, with the last id. */
function sse(string $url): void
{
    $client = new EventSourceHttpClient(HttpClient::create(), 0.1);
    $source = $client->connect($url);
    while ($source) {
        foreach ($client->stream($source, 30) as $chunk) {
            if ($chunk instanceof ServerSentEvent) {
                say(['message' => json_decode($chunk->getData(), flags: JSON_THROW_ON_ERROR), 'at' => $chunk->getId()]);
            }
        }
    }
}

function page(string $url, string $after): ?string
{
    try {
        return HttpClient::create()->request('GET', $url, ['query' => ['after' => $after, 'wait' => 20]])->getContent();
    } catch (TransportExceptionInterface) {
        return null;
    }
}

run([
    'sse' => sse(...),
    'poll' => fn($url) => long_poll(fn($after) => page($url, $after)),
    'publish' => fn($url) => say(['status' => HttpClient::create()->request('POST', $url, ['body' => PUBLISHED])->getStatusCode()]),
]);
