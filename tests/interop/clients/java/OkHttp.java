import java.io.IOException;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.RequestBody;
import okhttp3.Response;
import okhttp3.WebSocket;
import okhttp3.WebSocketListener;
import okio.ByteString;

/** OkHttp. */
final class OkHttp {
    private static final OkHttpClient CLIENT = new OkHttpClient.Builder().readTimeout(0, TimeUnit.SECONDS).build();

    /** Gathers messages, and the code of the close. */
    private static final class Listener extends WebSocketListener {
        final BlockingQueue<Object> received = new LinkedBlockingQueue<>();

        @Override
        public void onMessage(WebSocket ws, String text) {
            received.add(text);
        }

        @Override
        public void onMessage(WebSocket ws, ByteString bytes) {
            received.add(bytes);
        }

        @Override
        public void onClosing(WebSocket ws, int code, String reason) {
            received.add(code);
        }

        @Override
        public void onFailure(WebSocket ws, Throwable error, Response response) {
            Common.fail(error);
        }
    }

    private static void echo(String url) throws Exception {
        var listener = new Listener();
        var ws = CLIENT.newWebSocket(new Request.Builder().url(url).build(), listener);
        ws.send(Common.TEXT);
        Common.equal((String) listener.received.take(), Common.TEXT);
        ws.send(ByteString.of(Common.BYTES));
        Common.equal(((ByteString) listener.received.take()).asByteBuffer());
        ws.send(Common.LARGE);
        Common.equal((String) listener.received.take(), Common.LARGE);
        ws.close(1000, null);
        Common.say("{\"echo\":3,\"closed\":" + listener.received.take() + "}");
    }

    private static void channel(String url) throws Exception {
        var listener = new Listener();
        var ws = CLIENT.newWebSocket(new Request.Builder().url(url).build(), listener);
        ws.send(Common.PUBLISHED);
        for (var i = 0; i < 2; i++) Common.message((String) listener.received.take());
    }

    private static void lines(String url) throws Exception {
        for (var after = "now"; ; Thread.sleep(50)) {
            var request = new Request.Builder().url(url + "?after=" + after).header("Accept", "application/x-ndjson");
            try (var response = CLIENT.newCall(request.build()).execute()) {
                for (String line; (line = response.body().source().readUtf8Line()) != null; ) {
                    if (line.isEmpty()) continue;
                    after = Common.member("at", line);
                    var data = Common.member("data", line);
                    if (data != null) Common.message(data, after);
                }
            } catch (IOException cut) {
                continue;
            }
        }
    }

    private static void poll(String url) throws Exception {
        for (var after = "now"; ; ) {
            var request = new Request.Builder().url(url + "?wait=20&after=" + after).build();
            try (var response = CLIENT.newCall(request).execute()) {
                var page = response.body().string();
                after = Common.member("at", page);
                var data = Common.member("data", page);
                if (data != null) Common.message(data, after);
            } catch (IOException cut) {
                Thread.sleep(50);
            }
        }
    }

    private static void publish(String url) throws Exception {
        var body = RequestBody.create(null, Common.PUBLISHED.getBytes());
        try (var response = CLIENT.newCall(new Request.Builder().url(url).post(body).build()).execute()) {
            Common.status(response.code());
        }
    }

    public static void main(String[] arguments) throws Exception {
        Common.run(arguments, Map.of(
            "echo", OkHttp::echo, "channel", OkHttp::channel,
            "ndjson", OkHttp::lines, "poll", OkHttp::poll, "publish", OkHttp::publish));
        System.exit(0);
    }
}
