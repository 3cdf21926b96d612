// A client and a server made with Netty, with its own offer of compression and its own answer:
// compression.java client URL | compression.java server
//
// The client sends messages alike, each of which has to come back; then it reports what was agreed on.
// The server sends every message back, on a free port that it reports.

import io.netty.bootstrap.Bootstrap;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandler;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.channel.socket.nio.NioSocketChannel;
import io.netty.handler.codec.http.DefaultHttpHeaders;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpClientCodec;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpServerCodec;
import io.netty.handler.codec.http.websocketx.CloseWebSocketFrame;
import io.netty.handler.codec.http.websocketx.TextWebSocketFrame;
import io.netty.handler.codec.http.websocketx.WebSocketClientHandshaker;
import io.netty.handler.codec.http.websocketx.WebSocketClientHandshakerFactory;
import io.netty.handler.codec.http.websocketx.WebSocketClientProtocolHandler;
import io.netty.handler.codec.http.websocketx.WebSocketFrame;
import io.netty.handler.codec.http.websocketx.WebSocketServerProtocolHandler;
import io.netty.handler.codec.http.websocketx.WebSocketVersion;
import io.netty.handler.codec.http.websocketx.extensions.compression.WebSocketClientCompressionHandler;
import io.netty.handler.codec.http.websocketx.extensions.compression.WebSocketServerCompressionHandler;
import java.net.InetSocketAddress;
import java.net.URI;

class Compression {
    static final int MESSAGES = 5;

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("client")) {
            client(new URI(arguments[1]));
        } else {
            server();
        }
    }

    static String message(int number) {
        return "{\"number\":" + number + ",\"text\":\"" + "the same text again, ".repeat(40) + "\"}";
    }

    static void fail(String why) {
        System.err.println(why);
        Runtime.getRuntime().halt(1);
    }

    static void client(URI url) throws Exception {
        NioEventLoopGroup group = new NioEventLoopGroup(1);
        WebSocketClientHandshaker handshaker = WebSocketClientHandshakerFactory.newHandshaker(
            url, WebSocketVersion.V13, null, true, new DefaultHttpHeaders());
        Bootstrap bootstrap = new Bootstrap().group(group).channel(NioSocketChannel.class);
        bootstrap.handler(new ChannelInitializer<SocketChannel>() {
            @Override
            protected void initChannel(SocketChannel channel) {
                channel.pipeline().addLast(
                    new HttpClientCodec(),
                    new HttpObjectAggregator(65536),
                    new Answer(),
                    WebSocketClientCompressionHandler.INSTANCE,
                    new WebSocketClientProtocolHandler(handshaker),
                    new Talk());
            }
        });
        Channel channel = bootstrap.connect(url.getHost(), url.getPort()).sync().channel();
        channel.closeFuture().sync();
        group.shutdownGracefully();
    }

    /** Notes the answer before the handlers of Netty take it. */
    static class Answer extends SimpleChannelInboundHandler<FullHttpResponse> {
        static volatile String extensions = "";

        Answer() {
            super(false);
        }

        @Override
        protected void channelRead0(ChannelHandlerContext context, FullHttpResponse response) {
            String answered = response.headers().get("Sec-WebSocket-Extensions");
            extensions = answered == null ? "" : answered;
            context.fireChannelRead(response);
        }
    }

    static class Talk extends SimpleChannelInboundHandler<WebSocketFrame> {
        private int number = 0;

        @Override
        public void userEventTriggered(ChannelHandlerContext context, Object event) {
            if (event == WebSocketClientProtocolHandler.ClientHandshakeStateEvent.HANDSHAKE_COMPLETE) {
                context.writeAndFlush(new TextWebSocketFrame(message(0)));
            }
        }

        @Override
        protected void channelRead0(ChannelHandlerContext context, WebSocketFrame frame) {
            boolean isEcho = frame instanceof TextWebSocketFrame
                && ((TextWebSocketFrame) frame).text().equals(message(number));
            if (!isEcho) {
                fail("message " + number + ": " + frame);
            }
            number += 1;
            if (number < MESSAGES) {
                context.writeAndFlush(new TextWebSocketFrame(message(number)));
            } else {
                System.out.println("{\"extensions\":\"" + Answer.extensions + "\"}");
                context.writeAndFlush(new CloseWebSocketFrame(1000, ""));
            }
        }

        @Override
        public void channelInactive(ChannelHandlerContext context) {
            if (number < MESSAGES) {
                fail("message " + number + ": the connection is closed");
            }
        }

        @Override
        public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
            fail("message " + number + ": " + cause);
        }
    }

    static void server() throws Exception {
        NioEventLoopGroup group = new NioEventLoopGroup(1);
        ServerBootstrap bootstrap = new ServerBootstrap().group(group);
        bootstrap.channel(NioServerSocketChannel.class);
        bootstrap.childHandler(new ChannelInitializer<SocketChannel>() {
            @Override
            protected void initChannel(SocketChannel channel) {
                channel.pipeline().addLast(
                    new HttpServerCodec(),
                    new HttpObjectAggregator(65536),
                    new WebSocketServerCompressionHandler(),
                    new WebSocketServerProtocolHandler("/", null, true),
                    new Echo());
            }
        });
        Channel channel = bootstrap.bind("127.0.0.1", 0).sync().channel();
        int port = ((InetSocketAddress) channel.localAddress()).getPort();
        System.out.println("{\"port\":" + port + "}");
        channel.closeFuture().sync();
    }

    @ChannelHandler.Sharable
    static class Echo extends SimpleChannelInboundHandler<WebSocketFrame> {
        @Override
        protected void channelRead0(ChannelHandlerContext context, WebSocketFrame frame) {
            context.writeAndFlush(frame.retain());
        }
    }
}
