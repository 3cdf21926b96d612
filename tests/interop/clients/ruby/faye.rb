# faye-websocket, as a client in EventMachine and as a server in Puma

require "eventmachine"
require "faye/websocket"
require "puma"
require_relative "common"

def echo(url)
  messages = [TEXT, BYTES, LARGE]
  count = 0
  EM.run do
    ws = Faye::WebSocket::Client.new(url)
    send_next = -> { messages[count].encoding == Encoding::BINARY ? ws.send(BYTES.bytes) : ws.send(messages[count]) }
    ws.on(:open) { send_next.call }
    ws.on(:message) do |event|
      equal(event.data.is_a?(Array) ? event.data.pack("C*") : event.data, messages[count])
      count += 1
      count == messages.size ? ws.close(1000) : send_next.call
    end
    ws.on(:close) do |event|
      say(echo: count, closed: event.code)
      EM.stop
    end
  end
end

def channel(url)
  count = 0
  EM.run do
    ws = Faye::WebSocket::Client.new(url)
    ws.on(:open) { ws.send(PUBLISHED) }
    ws.on(:message) do |event|
      say(message: event.data)
      EM.stop if (count += 1) == 2
    end
  end
end

def server(*)
  app = lambda do |env|
    ws = Faye::WebSocket.new(env)
    ws.on(:message) { |event| ws.send(event.data) }
    ws.rack_response
  end
  puma = Puma::Server.new(app, Puma::Events.strings)
  listener = puma.add_tcp_listener("127.0.0.1", 0)
  puma.run
  say(port: listener.addr[1])
  sleep
end

run(echo: method(:echo), channel: method(:channel), server: method(:server))
