import io.netty.bootstrap.Bootstrap;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.channel.socket.nio.NioSocketChannel;
import io.netty.handler.codec.http.HttpClientCodec;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpServerCodec;
import io.netty.handler.codec.http.websocketx.BinaryWebSocketFrame;
import io.netty.handler.codec.http.websocketx.CloseWebSocketFrame;
import io.netty.handler.codec.http.websocketx.TextWebSocketFrame;
import io.netty.handler.codec.http.websocketx.WebSocketClientProtocolHandler;
import io.netty.handler.codec.http.websocketx.WebSocketFrame;
import io.netty.handler.codec.http.websocketx.WebSocketFrameAggregator;
import io.netty.handler.codec.http.websocketx.WebSocketServerProtocolHandler;
import io.netty.handler.codec.http.websocketx.WebSocketVersion;
import io.netty.handler.codec.http.websocketx.extensions.compression.WebSocketClientCompressionHandler;
import io.netty.handler.codec.http.websocketx.extensions.compression.WebSocketServerCompressionHandler;
import java.net.InetSocketAddress;
import java.net.URI;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** Netty. */
final class Netty {
    private static final int LARGEST = 1 << 21;
    private static final EventLoopGroup GROUP = new NioEventLoopGroup(1);

    /** Opens a WebSocket whose messages go to the queue. */
    private static Channel open(String url, BlockingQueue<WebSocketFrame> received) throws Exception {
        var uri = URI.create(url);
        var opened = new LinkedBlockingQueue<Boolean>();
        var client = new Bootstrap().group(GROUP).channel(NioSocketChannel.class);
        client.handler(new ChannelInitializer<Channel>() {
            @Override
            protected void initChannel(Channel channel) {
                channel.pipeline().addLast(
                    new HttpClientCodec(),
                    new HttpObjectAggregator(LARGEST),
                    WebSocketClientCompressionHandler.INSTANCE,
                    new WebSocketClientProtocolHandler(uri, WebSocketVersion.V13, null, true, null, LARGEST, false),
                    new WebSocketFrameAggregator(LARGEST),
                    new SimpleChannelInboundHandler<WebSocketFrame>() {
                        @Override
                        public void userEventTriggered(ChannelHandlerContext context, Object event) {
                            if (event == WebSocketClientProtocolHandler.ClientHandshakeStateEvent.HANDSHAKE_COMPLETE) opened.add(true);
                        }

                        @Override
                        protected void channelRead0(ChannelHandlerContext context, WebSocketFrame frame) {
                            received.add(frame.retain());
                        }
                    });
            }
        });
        var channel = client.connect(uri.getHost(), uri.getPort()).sync().channel();
        opened.take();
        return channel;
    }

    private static void echo(String url) throws Exception {
        var received = new LinkedBlockingQueue<WebSocketFrame>();
        var channel = open(url, received);
        channel.writeAndFlush(new TextWebSocketFrame(Common.TEXT));
        Common.equal(((TextWebSocketFrame) received.take()).text(), Common.TEXT);
        channel.writeAndFlush(new BinaryWebSocketFrame(Unpooled.wrappedBuffer(Common.BYTES)));
        Common.equal(received.take().content().nioBuffer());
        channel.writeAndFlush(new TextWebSocketFrame(Common.LARGE));
        Common.equal(((TextWebSocketFrame) received.take()).text(), Common.LARGE);
        channel.writeAndFlush(new CloseWebSocketFrame(1000, ""));
        Common.say("{\"echo\":3,\"closed\":" + ((CloseWebSocketFrame) received.take()).statusCode() + "}");
    }

    private static void channel(String url) throws Exception {
        var received = new LinkedBlockingQueue<WebSocketFrame>();
        open(url, received).writeAndFlush(new TextWebSocketFrame(Common.PUBLISHED));
        for (var i = 0; i < 2; i++) Common.message(((TextWebSocketFrame) received.take()).text());
    }

    private static void server(String url) throws Exception {
        var server = new ServerBootstrap().group(GROUP).channel(NioServerSocketChannel.class);
        server.childHandler(new ChannelInitializer<Channel>() {
            @Override
            protected void initChannel(Channel channel) {
                channel.pipeline().addLast(
                    new HttpServerCodec(),
                    new HttpObjectAggregator(LARGEST),
                    new WebSocketServerCompressionHandler(),
                    new WebSocketServerProtocolHandler("/", null, true, LARGEST),
                    new WebSocketFrameAggregator(LARGEST),
                    new SimpleChannelInboundHandler<WebSocketFrame>() {
                        @Override
                        protected void channelRead0(ChannelHandlerContext context, WebSocketFrame frame) {
                            context.writeAndFlush(frame.retain());
                        }
                    });
            }
        });
        var channel = server.bind("127.0.0.1", 0).sync().channel();
        Common.port(((InetSocketAddress) channel.localAddress()).getPort());
        channel.closeFuture().sync();
    }

    public static void main(String[] arguments) throws Exception {
        Common.run(arguments, Map.of("echo", Netty::echo, "channel", Netty::channel, "server", Netty::server));
        System.exit(0);
    }
}
