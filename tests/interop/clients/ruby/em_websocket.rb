# em-websocket, a server

require "em-websocket"
require_relative "common"

def server(*)
  EM.run do
    signature = EM::WebSocket.start(host: "127.0.0.1", port: 0) do |ws|
      ws.onmessage { |text| ws.send_text(text) }
      ws.onbinary { |bytes| ws.send_binary(bytes) }
    end
    say(port: Socket.unpack_sockaddr_in(EM.get_sockname(signature))[0])
  end
end

run(server: method(:server))
