// libcurl
#include "common.h"
#include <curl/curl.h>
#include <unistd.h>

struct stream {
    char line[4096];
    size_t length;
    char last[64];
};

static size_t on_piece(char *piece, size_t size, size_t count, void *data) {
    struct stream *stream = data;
    for (size_t i = 0; i < count; i++) {
        if (piece[i] != '\n') {
            if (stream->length < sizeof stream->line - 1) stream->line[stream->length++] = piece[i];
            continue;
        }
        stream->line[stream->length] = 0;
        stream->length = 0;
        read_event_line(stream->line, stream->last);
    }
    return size * count;
}

static void sse(CURL *curl, const char *url) {
    struct stream stream = {0};
    for (;; usleep(50000)) {
        char last[128];
        snprintf(last, sizeof last, "Last-Event-ID: %s", stream.last);
        struct curl_slist *headers = curl_slist_append(NULL, "Accept: text/event-stream");
        if (*stream.last) headers = curl_slist_append(headers, last);
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_piece);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, &stream);
        curl_easy_perform(curl);
        stream.length = 0;
        curl_slist_free_all(headers);
    }
}

static size_t skip(char *piece, size_t size, size_t count, void *data) {
    (void)piece, (void)data;
    return size * count;
}

static void publish(CURL *curl, const char *url) {
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, PUBLISHED);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, skip);
    if (curl_easy_perform(curl)) fail("no answer");
    long status;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    say_number("status", status);
}

int main(int count, char **arguments) {
    (void)count;
    CURL *curl = curl_easy_init();
    if (!strcmp(arguments[1], "sse")) sse(curl, arguments[2]);
    if (!strcmp(arguments[1], "publish")) publish(curl, arguments[2]);
    curl_easy_cleanup(curl);
}
