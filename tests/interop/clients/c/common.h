// What the clients of C and C++ have in common: reports, and the messages that an echo sends back.
//
// Each is called with a check and a URL, prints one JSON object in a line for what it saw, and fails where that is wrong.
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT "sockeye 🐟"
#define BYTES "\x00\xff\xfe\x80"
#define BYTES_LENGTH 4
#define LARGE_LENGTH (1 << 20)
#define PUBLISHED "from a peer"

static inline void fail(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(1);
}

// The messages of the echo, by their number.
static inline const char *echo_message(int number, size_t *length) {
    static char *large;
    if (!large) memset(large = (char *)malloc(LARGE_LENGTH), 'x', LARGE_LENGTH);
    *length = number == 0 ? strlen(TEXT) : number == 1 ? BYTES_LENGTH : LARGE_LENGTH;
    return number == 0 ? TEXT : number == 1 ? BYTES : large;
}

static inline void expect(const void *found, size_t length, int number) {
    size_t expected_length;
    const char *expected = echo_message(number, &expected_length);
    if (length != expected_length || memcmp(found, expected, length)) fail("another message came back");
}

static inline void say_echo(int count, int code) {
    printf("{\"echo\":%d,\"closed\":%d}\n", count, code);
    fflush(stdout);
}

static inline void say_message(const char *text, size_t length) {
    printf("{\"message\":\"%.*s\"}\n", (int)length, text);
    fflush(stdout);
}

// A message that is JSON, with its position.
static inline void say_json(const char *json, size_t length, const char *at) {
    printf("{\"message\":%.*s,\"at\":\"%s\"}\n", (int)length, json, at);
    fflush(stdout);
}

static inline void say_number(const char *name, int number) {
    printf("{\"%s\":%d}\n", name, number);
    fflush(stdout);
}

// What stands in a line of Server-Sent Events.
static inline void read_event_line(const char *line, char last[64]) {
    if (!strncmp(line, "id: ", 4)) snprintf(last, 64, "%s", line + 4);
    if (!strncmp(line, "data: ", 6)) say_json(line + 6, strlen(line + 6), last);
}
