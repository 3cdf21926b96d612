// libsoup 3
#include "common.h"
#include <libsoup/soup.h>
#include <unistd.h>

static GMainLoop *loop;
static int done;

static void send_next(SoupWebsocketConnection *ws) {
    size_t length;
    const char *message = echo_message(done, &length);
    if (done == 1) soup_websocket_connection_send_binary(ws, message, length);
    else {
        char *text = g_strndup(message, length);
        soup_websocket_connection_send_text(ws, text);
        g_free(text);
    }
}

static void on_echo(SoupWebsocketConnection *ws, SoupWebsocketDataType type, GBytes *bytes, gpointer data) {
    (void)type, (void)data;
    size_t length;
    const void *found = g_bytes_get_data(bytes, &length);
    expect(found, length, done++);
    if (done < 3) send_next(ws);
    else soup_websocket_connection_close(ws, 1000, NULL);
}

static void on_message(SoupWebsocketConnection *ws, SoupWebsocketDataType type, GBytes *bytes, gpointer data) {
    (void)ws, (void)type, (void)data;
    size_t length;
    const char *text = g_bytes_get_data(bytes, &length);
    say_message(text, length);
    if (++done == 2) g_main_loop_quit(loop);
}

static void on_closed(SoupWebsocketConnection *ws, gpointer data) {
    (void)data;
    say_echo(done, soup_websocket_connection_get_close_code(ws));
    g_main_loop_quit(loop);
}

static void on_open(GObject *session, GAsyncResult *result, gpointer check) {
    SoupWebsocketConnection *ws = soup_session_websocket_connect_finish(SOUP_SESSION(session), result, NULL);
    if (!ws) fail("no WebSocket");
    soup_websocket_connection_set_max_incoming_payload_size(ws, 0);
    if (!strcmp(check, "echo")) {
        g_signal_connect(ws, "message", G_CALLBACK(on_echo), NULL);
        g_signal_connect(ws, "closed", G_CALLBACK(on_closed), NULL);
        send_next(ws);
    } else {
        g_signal_connect(ws, "message", G_CALLBACK(on_message), NULL);
        soup_websocket_connection_send_text(ws, PUBLISHED);
    }
}

static void client(SoupSession *session, char *check, const char *url) {
    soup_session_add_feature_by_type(session, SOUP_TYPE_WEBSOCKET_EXTENSION_MANAGER);
    soup_session_websocket_connect_async(session, soup_message_new("GET", url), NULL, NULL, G_PRIORITY_DEFAULT, NULL, on_open, check);
    g_main_loop_run(loop);
}

static void sse(SoupSession *session, const char *url) {
    char last[64] = "";
    for (;; usleep(50000)) {
        SoupMessage *request = soup_message_new("GET", url);
        soup_message_headers_append(soup_message_get_request_headers(request), "Accept", "text/event-stream");
        if (*last) soup_message_headers_append(soup_message_get_request_headers(request), "Last-Event-ID", last);
        GInputStream *body = soup_session_send(session, request, NULL, NULL);
        if (!body) continue;
        GDataInputStream *lines = g_data_input_stream_new(body);
        for (char *line; (line = g_data_input_stream_read_line(lines, NULL, NULL, NULL)); g_free(line)) read_event_line(line, last);
        g_object_unref(lines);
    }
}

static void publish(SoupSession *session, const char *url) {
    SoupMessage *request = soup_message_new("POST", url);
    GBytes *body = g_bytes_new_static(PUBLISHED, strlen(PUBLISHED));
    soup_message_set_request_body_from_bytes(request, NULL, body);
    if (!soup_session_send(session, request, NULL, NULL)) fail("no answer");
    say_number("status", soup_message_get_status(request));
}

static void on_server_message(SoupWebsocketConnection *ws, int type, GBytes *bytes, gpointer data) {
    (void)data;
    soup_websocket_connection_send_message(ws, type, bytes);
}

static void on_client(SoupServer *server, SoupServerMessage *message, const char *path, SoupWebsocketConnection *ws, gpointer data) {
    (void)server, (void)message, (void)path, (void)data;
    soup_websocket_connection_set_max_incoming_payload_size(ws, 0);
    g_signal_connect(g_object_ref(ws), "message", G_CALLBACK(on_server_message), NULL);
}

static void serve(void) {
    SoupServer *server = soup_server_new(NULL, NULL);
    soup_server_add_websocket_extension(server, SOUP_TYPE_WEBSOCKET_EXTENSION_DEFLATE);
    soup_server_add_websocket_handler(server, "/", NULL, NULL, on_client, NULL, NULL);
    soup_server_listen_local(server, 0, SOUP_SERVER_LISTEN_IPV4_ONLY, NULL);
    say_number("port", g_uri_get_port(soup_server_get_uris(server)->data));
    g_main_loop_run(loop);
}

int main(int count, char **arguments) {
    (void)count;
    loop = g_main_loop_new(NULL, FALSE);
    SoupSession *session = soup_session_new();
    char *check = arguments[1];
    if (!strcmp(check, "sse")) sse(session, arguments[2]);
    else if (!strcmp(check, "publish")) publish(session, arguments[2]);
    else if (!strcmp(check, "server")) serve();
    else client(session, check, arguments[2]);
}
