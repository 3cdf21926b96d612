<?php
// What the clients of PHP have in common: reports, and the messages that an echo sends back.
//
// Each is called with a check and a URL, prints one JSON object in a line for what it saw, and fails where that is wrong.

const PUBLISHED = 'from a peer';

function say(array $report): void
{
    echo json_encode($report), "\n";
    flush();
}

/** Reads on after each cut, as `$read($after)` gives lines. */
function json_lines(callable $read): void
{
    for ($after = 'now'; ; usleep(50_000)) {
        foreach ($read($after) as $line) {
            if (trim($line) === '') {
                continue;
            }
            $message = json_decode($line, flags: JSON_THROW_ON_ERROR);
            $after = $message->at;
            if (isset($message->data)) {
                say(['message' => $message->data, 'at' => $after]);
            }
        }
    }
}

/** Polls for ever, as `$get($after)` gives a page or nothing. */
function long_poll(callable $get): void
{
    for ($after = 'now'; ;) {
        $page = json_decode((string) $get($after));
        if ($page === null) {
            usleep(50_000);
            continue;
        }
        $after = $page->at;
        foreach ($page->messages as $message) {
            say(['message' => $message->data, 'at' => $message->at]);
        }
    }
}

/** Runs the check that the arguments name. */
function run(array $checks): void
{
    global $argv;
    $checks[$argv[1]]($argv[2]);
}
