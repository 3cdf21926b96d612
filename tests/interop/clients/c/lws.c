// libwebsockets
#include "common.h"
#include <libwebsockets.h>

static const char *check;
static int done, finished, sending;
// What came of a message so far, or waits to be sent back.
static char buffer[LWS_PRE + (2 << 20)];
static size_t length;
static int binary;

static void send_message(struct lws *wsi, const char *message, size_t size, int is_binary) {
    memmove(buffer + LWS_PRE, message, size);
    if (lws_write(wsi, (unsigned char *)buffer + LWS_PRE, size, is_binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT) < 0) fail("no write");
}

// A connection may be called writable at other times, too.
static void want_to_send(struct lws *wsi) {
    sending = 1;
    lws_callback_on_writable(wsi);
}

static int on_message(struct lws *wsi) {
    const char *message = buffer + LWS_PRE;
    if (!strcmp(check, "echo")) {
        expect(message, length, done++);
        if (done < 3) want_to_send(wsi);
    } else {
        say_message(message, length);
        finished = ++done == 2;
    }
    if (strcmp(check, "echo") || done < 3) return 0;
    lws_close_reason(wsi, LWS_CLOSE_STATUS_NORMAL, NULL, 0);
    return -1;
}

static int on_client(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t size) {
    (void)user;
    size_t next_length = strlen(PUBLISHED);
    const char *next = strcmp(check, "echo") ? PUBLISHED : echo_message(done, &next_length);
    switch (reason) {
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        fail("no WebSocket");
        break;
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        want_to_send(wsi);
        break;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        if (!sending) break;
        sending = 0;
        send_message(wsi, next, next_length, done == 1 && !strcmp(check, "echo"));
        break;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        if (lws_is_first_fragment(wsi)) length = 0;
        memcpy(buffer + LWS_PRE + length, in, size);
        length += size;
        return lws_is_final_fragment(wsi) && !lws_remaining_packet_payload(wsi) ? on_message(wsi) : 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
        say_echo(done, 1000);
        finished = 1;
        break;
    default:
        break;
    }
    return 0;
}

static int on_server(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t size) {
    (void)user;
    switch (reason) {
    case LWS_CALLBACK_RECEIVE:
        if (lws_is_first_fragment(wsi)) length = 0;
        memcpy(buffer + LWS_PRE + length, in, size);
        length += size;
        binary = lws_frame_is_binary(wsi);
        if (lws_is_final_fragment(wsi) && !lws_remaining_packet_payload(wsi)) {
            // The next message has to wait: there is one buffer.
            lws_rx_flow_control(wsi, 0);
            want_to_send(wsi);
        }
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        if (!sending) break;
        sending = 0;
        send_message(wsi, buffer + LWS_PRE, length, binary);
        lws_rx_flow_control(wsi, 1);
        break;
    default:
        break;
    }
    return 0;
}

int main(int count, char **arguments) {
    check = arguments[1];
    int is_server = !strcmp(check, "server");
    struct lws_protocols protocols[] = {
        {.name = "plain", .callback = is_server ? on_server : on_client, .rx_buffer_size = 1 << 16},
        {0},
    };
    struct lws_extension extensions[] = {
        {"permessage-deflate", lws_extension_callback_pm_deflate, "permessage-deflate; client_max_window_bits"},
        {0},
    };
    int compressed = count > 3;
    struct lws_context_creation_info info = {
        .port = is_server ? 0 : CONTEXT_PORT_NO_LISTEN, .iface = is_server ? "127.0.0.1" : NULL,
        .protocols = protocols, .extensions = compressed ? extensions : NULL,
    };
    lws_set_log_level(LLL_ERR, NULL);
    struct lws_context *context = lws_create_context(&info);
    if (is_server) {
        say_number("port", lws_get_vhost_listen_port(lws_get_vhost_by_name(context, "default")));
    } else {
        const char *scheme, *host, *path;
        int port;
        char full[256];
        if (lws_parse_uri(arguments[2], &scheme, &host, &port, &path)) fail("no URL");
        snprintf(full, sizeof full, "/%s", path);
        struct lws_client_connect_info connect = {
            .context = context, .address = host, .port = port, .path = full, .host = lws_canonical_hostname(context), .protocol = NULL,
            .local_protocol_name = "plain",
        };
        connect.host = host;
        lws_client_connect_via_info(&connect);
    }
    while (!finished && lws_service(context, 0) >= 0);
    return 0;
}
