// Boost.Beast
#include "../c/common.h"
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>
#include <string>

namespace beast = boost::beast;
namespace websocket = beast::websocket;
using tcp = boost::asio::ip::tcp;
using WebSocket = websocket::stream<tcp::socket>;

static boost::asio::io_context context;

// The parts of a URL without TLS.
struct Url {
    std::string host, port, path;
    explicit Url(std::string url) {
        url = url.substr(url.find("//") + 2);
        auto slash = url.find('/'), colon = url.find(':');
        host = url.substr(0, colon), port = url.substr(colon + 1, slash - colon - 1), path = url.substr(slash);
    }
    tcp::socket connect() const {
        tcp::socket socket(context);
        socket.connect(*tcp::resolver(context).resolve(host, port).begin());
        return socket;
    }
};

static void compress(WebSocket &ws) {
    websocket::permessage_deflate options;
    options.client_enable = options.server_enable = true;
    ws.set_option(options);
}

static WebSocket open_url(const char *text) {
    Url url(text);
    WebSocket ws(url.connect());
    compress(ws);
    ws.handshake(url.host + ":" + url.port, url.path);
    return ws;
}

static std::string receive(WebSocket &ws) {
    beast::flat_buffer buffer;
    ws.read(buffer);
    return beast::buffers_to_string(buffer.data());
}

static void echo(const char *url) {
    auto ws = open_url(url);
    for (int number = 0; number < 3; number++) {
        size_t length;
        const char *message = echo_message(number, &length);
        ws.binary(number == 1);
        ws.write(boost::asio::buffer(message, length));
        auto found = receive(ws);
        expect(found.data(), found.size(), number);
    }
    ws.close(websocket::close_code::normal);
    say_echo(3, ws.reason().code);
}

static void channel(const char *url) {
    auto ws = open_url(url);
    ws.write(boost::asio::buffer(std::string(PUBLISHED)));
    for (int count = 0; count < 2; count++) {
        auto message = receive(ws);
        say_message(message.data(), message.size());
    }
}

static void publish(const char *text) {
    namespace http = beast::http;
    Url url(text);
    auto socket = url.connect();
    http::request<http::string_body> request(http::verb::post, url.path, 11, PUBLISHED);
    request.set(http::field::host, url.host + ":" + url.port);
    request.prepare_payload();
    http::write(socket, request);
    beast::flat_buffer buffer;
    http::response<http::string_body> response;
    http::read(socket, buffer, response);
    say_number("status", response.result_int());
}

static void server() {
    tcp::acceptor acceptor(context, {boost::asio::ip::make_address("127.0.0.1"), 0});
    say_number("port", acceptor.local_endpoint().port());
    for (;;) {
        WebSocket ws(acceptor.accept());
        compress(ws);
        ws.accept();
        try {
            for (;;) {
                beast::flat_buffer buffer;
                ws.read(buffer);
                ws.text(ws.got_text());
                ws.write(buffer.data());
            }
        } catch (const beast::system_error &) {
            // It was closed.
        }
    }
}

int main(int, char **arguments) {
    std::string check = arguments[1];
    if (check == "echo") echo(arguments[2]);
    if (check == "channel") channel(arguments[2]);
    if (check == "publish") publish(arguments[2]);
    if (check == "server") server();
}
