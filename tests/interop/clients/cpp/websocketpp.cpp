// WebSocket++
#include <websocketpp/client.hpp>
#include <websocketpp/config/asio_no_tls.hpp>
#include <websocketpp/config/asio_no_tls_client.hpp>
#include <websocketpp/server.hpp>

// Its names are in the way of the library's.
#include "../c/common.h"

using Client = websocketpp::client<websocketpp::config::asio_client>;
using Server = websocketpp::server<websocketpp::config::asio>;
using websocketpp::connection_hdl;
namespace opcode = websocketpp::frame::opcode;

static Client client;
static int done;

static void send_next(connection_hdl ws) {
    size_t length;
    const char *message = echo_message(done, &length);
    client.send(ws, message, length, done == 1 ? opcode::binary : opcode::text);
}

static void run_client(const char *url, bool is_echo) {
    client.clear_access_channels(websocketpp::log::alevel::all);
    client.init_asio();
    client.set_open_handler([=](connection_hdl ws) {
        if (is_echo) send_next(ws);
        else client.send(ws, PUBLISHED, opcode::text);
    });
    client.set_message_handler([=](connection_hdl ws, Client::message_ptr message) {
        auto &payload = message->get_payload();
        if (is_echo) {
            expect(payload.data(), payload.size(), done++);
            if (done < 3) send_next(ws);
            else client.close(ws, websocketpp::close::status::normal, "");
        } else {
            say_message(payload.data(), payload.size());
            if (++done == 2) client.stop();
        }
    });
    client.set_close_handler([=](connection_hdl ws) {
        if (is_echo) say_echo(done, client.get_con_from_hdl(ws)->get_remote_close_code());
    });
    client.set_fail_handler([](connection_hdl) { fail("no WebSocket"); });
    websocketpp::lib::error_code error;
    client.connect(client.get_connection(url, error));
    client.run();
}

static void run_server() {
    Server server;
    server.clear_access_channels(websocketpp::log::alevel::all);
    server.init_asio();
    server.set_message_handler([&](connection_hdl ws, Server::message_ptr message) {
        server.send(ws, message->get_payload(), message->get_opcode());
    });
    server.listen(boost::asio::ip::tcp::endpoint(boost::asio::ip::make_address("127.0.0.1"), 0));
    websocketpp::lib::asio::error_code error;
    say_number("port", server.get_local_endpoint(error).port());
    server.start_accept();
    server.run();
}

int main(int, char **arguments) {
    std::string check = arguments[1];
    if (check == "server") run_server();
    else run_client(arguments[2], check == "echo");
}
