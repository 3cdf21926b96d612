import jakarta.websocket.ClientEndpointConfig;
import jakarta.websocket.CloseReason;
import jakarta.websocket.ContainerProvider;
import jakarta.websocket.Endpoint;
import jakarta.websocket.EndpointConfig;
import jakarta.websocket.Extension;
import jakarta.websocket.MessageHandler;
import jakarta.websocket.OnMessage;
import jakarta.websocket.Session;
import jakarta.websocket.server.ServerContainer;
import jakarta.websocket.server.ServerEndpoint;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.apache.tomcat.websocket.server.WsSci;

/** Tomcat, with its Jakarta WebSocket. */
final class Tomcat {
    private static final int LARGEST = 1 << 21;

    /** Gathers messages, and the code of the close. */
    private static final class Client extends Endpoint {
        final BlockingQueue<Object> received = new LinkedBlockingQueue<>();

        @Override
        public void onOpen(Session session, EndpointConfig config) {
            session.setMaxTextMessageBufferSize(LARGEST);
            session.addMessageHandler(String.class, (MessageHandler.Whole<String>) received::add);
            session.addMessageHandler(ByteBuffer.class, (MessageHandler.Whole<ByteBuffer>) received::add);
        }

        @Override
        public void onClose(Session session, CloseReason reason) {
            received.add(reason.getCloseCode().getCode());
        }
    }

    /** The offer of compression. */
    private record Deflate() implements Extension {
        @Override
        public String getName() {
            return "permessage-deflate";
        }

        @Override
        public List<Parameter> getParameters() {
            return List.of();
        }
    }

    private static Session open(Client client, String url) throws Exception {
        var config = ClientEndpointConfig.Builder.create().extensions(List.of(new Deflate())).build();
        return ContainerProvider.getWebSocketContainer().connectToServer(client, config, URI.create(url));
    }

    private static void echo(String url) throws Exception {
        var client = new Client();
        var session = open(client, url);
        session.getBasicRemote().sendText(Common.TEXT);
        Common.equal((String) client.received.take(), Common.TEXT);
        session.getBasicRemote().sendBinary(ByteBuffer.wrap(Common.BYTES));
        Common.equal((ByteBuffer) client.received.take());
        session.getBasicRemote().sendText(Common.LARGE);
        Common.equal((String) client.received.take(), Common.LARGE);
        session.close(new CloseReason(CloseReason.CloseCodes.NORMAL_CLOSURE, ""));
        Common.say("{\"echo\":3,\"closed\":" + client.received.take() + "}");
    }

    private static void channel(String url) throws Exception {
        var client = new Client();
        var session = open(client, url);
        session.getBasicRemote().sendText(Common.PUBLISHED);
        for (var i = 0; i < 2; i++) Common.message((String) client.received.take());
    }

    /** Sends every message back. */
    @ServerEndpoint("/")
    public static final class Echo {
        @OnMessage(maxMessageSize = LARGEST)
        public String text(String text) {
            return text;
        }

        @OnMessage(maxMessageSize = LARGEST)
        public byte[] bytes(byte[] bytes) {
            return bytes;
        }
    }

    private static void server(String url) throws Exception {
        var tomcat = new org.apache.catalina.startup.Tomcat();
        tomcat.setBaseDir(Files.createTempDirectory("tomcat").toString());
        tomcat.setHostname("127.0.0.1");
        tomcat.setPort(0);
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        var context = tomcat.addContext("", null);
        context.addServletContainerInitializer((classes, servlets) -> {
            new WsSci().onStartup(classes, servlets);
            var container = (ServerContainer) servlets.getAttribute(ServerContainer.class.getName());
            container.setDefaultMaxTextMessageBufferSize(LARGEST);
            try {
                container.addEndpoint(Echo.class);
            } catch (jakarta.websocket.DeploymentException error) {
                Common.fail(error);
            }
        }, null);
        org.apache.catalina.startup.Tomcat.addServlet(context, "default", new org.apache.catalina.servlets.DefaultServlet());
        context.addServletMappingDecoded("/", "default");
        tomcat.start();
        Common.port(tomcat.getConnector().getLocalPort());
        tomcat.getServer().await();
    }

    public static void main(String[] arguments) throws Exception {
        Logger.getLogger("org.apache").setLevel(Level.WARNING);
        Common.run(arguments, Map.of("echo", Tomcat::echo, "channel", Tomcat::channel, "server", Tomcat::server));
        System.exit(0);
    }
}
