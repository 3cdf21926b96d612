import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;

/** java.net.http, of the JDK. */
final class Jdk {
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    /** Gathers messages, and the code of the close. */
    private static final class Listener implements WebSocket.Listener {
        final BlockingQueue<Object> received = new LinkedBlockingQueue<>();
        private final StringBuilder text = new StringBuilder();

        @Override
        public CompletionStage<?> onText(WebSocket ws, CharSequence data, boolean last) {
            text.append(data);
            if (last) {
                received.add(text.toString());
                text.setLength(0);
            }
            ws.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onBinary(WebSocket ws, ByteBuffer data, boolean last) {
            var copy = ByteBuffer.allocate(data.remaining()).put(data).flip();
            received.add(copy);
            ws.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onClose(WebSocket ws, int code, String reason) {
            received.add(code);
            return null;
        }

        @Override
        public void onError(WebSocket ws, Throwable error) {
            Common.fail(error);
        }
    }

    private static void echo(String url) throws Exception {
        var listener = new Listener();
        var ws = CLIENT.newWebSocketBuilder().buildAsync(URI.create(url), listener).join();
        ws.sendText(Common.TEXT, true).join();
        Common.equal((String) listener.received.take(), Common.TEXT);
        ws.sendBinary(ByteBuffer.wrap(Common.BYTES), true).join();
        Common.equal((ByteBuffer) listener.received.take());
        ws.sendText(Common.LARGE, true).join();
        Common.equal((String) listener.received.take(), Common.LARGE);
        ws.sendClose(1000, "").join();
        Common.say("{\"echo\":3,\"closed\":" + listener.received.take() + "}");
    }

    private static void channel(String url) throws Exception {
        var listener = new Listener();
        var ws = CLIENT.newWebSocketBuilder().buildAsync(URI.create(url), listener).join();
        ws.sendText(Common.PUBLISHED, true).join();
        for (var i = 0; i < 2; i++) Common.message((String) listener.received.take());
    }

    private static HttpRequest.Builder get(String url) {
        return HttpRequest.newBuilder(URI.create(url));
    }

    private static void sse(String url) throws Exception {
        var last = new String[] {null};
        while (true) {
            var request = get(url).header("Accept", "text/event-stream");
            if (last[0] != null) request.header("Last-Event-ID", last[0]);
            try {
                CLIENT.send(request.build(), BodyHandlers.ofLines()).body().forEach(line -> {
                    if (line.startsWith("id: ")) last[0] = line.substring(4);
                    if (line.startsWith("data: ")) Common.message(line.substring(6), last[0]);
                });
            } catch (IOException | java.io.UncheckedIOException cut) {
                Thread.sleep(50);
            }
        }
    }

    private static void lines(String url) throws Exception {
        var after = new String[] {"now"};
        while (true) {
            var request = get(url + "?after=" + after[0]).header("Accept", "application/x-ndjson");
            try {
                CLIENT.send(request.build(), BodyHandlers.ofLines()).body().filter(line -> !line.isEmpty()).forEach(line -> {
                    after[0] = Common.member("at", line);
                    var data = Common.member("data", line);
                    if (data != null) Common.message(data, after[0]);
                });
            } catch (IOException | java.io.UncheckedIOException cut) {
                Thread.sleep(50);
            }
        }
    }

    private static void poll(String url) throws Exception {
        for (var after = "now"; ; ) {
            try {
                var page = CLIENT.send(get(url + "?wait=20&after=" + after).build(), BodyHandlers.ofString()).body();
                after = Common.member("at", page);
                var data = Common.member("data", page);
                if (data != null) Common.message(data, after);
            } catch (IOException cut) {
                Thread.sleep(50);
            }
        }
    }

    private static void publish(String url) throws Exception {
        var request = get(url).POST(BodyPublishers.ofString(Common.PUBLISHED)).build();
        Common.status(CLIENT.send(request, BodyHandlers.ofString()).statusCode());
    }

    public static void main(String[] arguments) throws Exception {
        Common.run(arguments, Map.of(
            "echo", Jdk::echo, "channel", Jdk::channel, "sse", Jdk::sse,
            "ndjson", Jdk::lines, "poll", Jdk::poll, "publish", Jdk::publish));
        System.exit(0);
    }
}
