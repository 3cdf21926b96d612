import java.nio.ByteBuffer;
import java.util.Map;

/**
 * What the clients of Java have in common: reports, and the messages that an echo sends back.
 *
 * <p>Each is called with a check and a URL, prints one JSON object in a line for what it saw, and fails where that is wrong.
 */
final class Common {
    static final String TEXT = "sockeye 🐟";
    static final byte[] BYTES = {0, -1, -2, -128};
    static final String LARGE = "x".repeat(1 << 20);
    static final String PUBLISHED = "from a peer";

    interface Check {
        void run(String url) throws Exception;
    }

    static synchronized void say(String report) {
        System.out.println(report);
        System.out.flush();
    }

    static void port(int port) {
        say("{\"port\":" + port + "}");
    }

    static void status(int status) {
        say("{\"status\":" + status + "}");
    }

    static void message(String text) {
        say("{\"message\":\"" + text + "\"}");
    }

    /** A message that is JSON, with its position. */
    static void message(String json, String at) {
        say("{\"message\":" + json + ",\"at\":\"" + at + "\"}");
    }

    static void equal(String found, String expected) {
        if (!found.equals(expected)) fail("found " + found.length() + " characters, expected " + expected.length());
    }

    static void equal(ByteBuffer found) {
        if (!found.equals(ByteBuffer.wrap(BYTES))) fail("found other bytes");
    }

    static void fail(Object why) {
        System.err.println(why);
        System.exit(1);
    }

    /** The text of a member of a JSON object, which is all the JSON that the clients need. */
    static String member(String name, String json) {
        var start = json.indexOf("\"" + name + "\":");
        if (start < 0) return null;
        start += name.length() + 3;
        return json.substring(start).replaceFirst("^\"([^\"]*)\".*$", "$1").replaceFirst("^(\\{[^}]*\\}).*$", "$1");
    }

    static void run(String[] arguments, Map<String, Check> checks) throws Exception {
        checks.get(arguments[0]).run(arguments.length > 1 ? arguments[1] : "");
    }

    private Common() {}
}
