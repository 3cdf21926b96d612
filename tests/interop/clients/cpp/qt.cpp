// Qt WebSockets
#include "../c/common.h"
#include <QCoreApplication>
#include <QUrl>
#include <QWebSocket>
#include <QWebSocketServer>

static int done;

static void send_next(QWebSocket &ws) {
    size_t length;
    const char *message = echo_message(done, &length);
    QByteArray bytes(message, length);
    if (done == 1) ws.sendBinaryMessage(bytes);
    else ws.sendTextMessage(QString::fromUtf8(bytes));
}

static void on_message(QWebSocket &ws, const QByteArray &message, bool is_echo) {
    if (is_echo) {
        expect(message.data(), message.size(), done++);
        if (done < 3) send_next(ws);
        else ws.close(QWebSocketProtocol::CloseCodeNormal);
    } else {
        say_message(message.data(), message.size());
        if (++done == 2) QCoreApplication::quit();
    }
}

static void run_client(QWebSocket &ws, const char *url, bool is_echo) {
    QObject::connect(&ws, &QWebSocket::connected, [&ws, is_echo] {
        if (is_echo) send_next(ws);
        else ws.sendTextMessage(PUBLISHED);
    });
    QObject::connect(&ws, &QWebSocket::textMessageReceived, [&ws, is_echo](const QString &text) { on_message(ws, text.toUtf8(), is_echo); });
    QObject::connect(&ws, &QWebSocket::binaryMessageReceived, [&ws, is_echo](const QByteArray &bytes) { on_message(ws, bytes, is_echo); });
    QObject::connect(&ws, &QWebSocket::disconnected, [&ws, is_echo] {
        if (is_echo) say_echo(done, ws.closeCode());
        QCoreApplication::quit();
    });
    ws.open(QUrl(url));
}

static void run_server(QWebSocketServer &server) {
    QObject::connect(&server, &QWebSocketServer::newConnection, [&server] {
        QWebSocket *ws = server.nextPendingConnection();
        QObject::connect(ws, &QWebSocket::textMessageReceived, [ws](const QString &text) { ws->sendTextMessage(text); });
        QObject::connect(ws, &QWebSocket::binaryMessageReceived, [ws](const QByteArray &bytes) { ws->sendBinaryMessage(bytes); });
    });
    server.listen(QHostAddress::LocalHost);
    say_number("port", server.serverPort());
}

int main(int count, char **arguments) {
    QCoreApplication app(count, arguments);
    QWebSocket ws;
    QWebSocketServer server("echo", QWebSocketServer::NonSecureMode);
    std::string check = arguments[1];
    if (check == "server") run_server(server);
    else run_client(ws, arguments[2], check == "echo");
    return app.exec();
}
