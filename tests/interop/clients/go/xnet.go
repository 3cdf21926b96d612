// golang.org/x/net/websocket
package main

import (
	"net"
	"net/http"
	"net/url"

	"golang.org/x/net/websocket"
)

// open sends the server's own origin: this library has to send one.
func open(address string) *websocket.Conn {
	server, err := url.Parse(address)
	must(err)
	ws, err := websocket.Dial(address, "", "http://"+server.Host)
	must(err)
	return ws
}

func echo(address string) {
	ws := open(address)
	for _, message := range []string{text, large} {
		found := ""
		must(websocket.Message.Send(ws, message))
		must(websocket.Message.Receive(ws, &found))
		equal([]byte(found), []byte(message))
	}
	var found []byte
	must(websocket.Message.Send(ws, binary))
	must(websocket.Message.Receive(ws, &found))
	equal(found, binary)
	must(ws.WriteClose(1000))
	if websocket.Message.Receive(ws, &found) == nil {
		must(http.ErrBodyNotAllowed)
	}
	say(map[string]any{"echo": 3, "closed": 1000})
}

func channel(address string) {
	ws := open(address)
	must(websocket.Message.Send(ws, published))
	for i := 0; i < 2; i++ {
		message := ""
		must(websocket.Message.Receive(ws, &message))
		say(map[string]any{"message": message})
	}
}

// message keeps apart text and bytes.
var message = websocket.Codec{
	Marshal: func(v any) ([]byte, byte, error) { m := v.(*received); return m.data, m.kind, nil },
	Unmarshal: func(data []byte, kind byte, v any) error {
		*v.(*received) = received{data, kind}
		return nil
	},
}

type received struct {
	data []byte
	kind byte
}

func server(string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	say(map[string]any{"port": listener.Addr().(*net.TCPAddr).Port})
	handler := func(ws *websocket.Conn) {
		// It does not answer a Close by itself.
		defer ws.WriteClose(1000)
		var m received
		for message.Receive(ws, &m) == nil && message.Send(ws, &m) == nil {
		}
	}
	// A client that is no page sends no Origin.
	must(http.Serve(listener, websocket.Server{Handler: handler}))
}

func main() {
	run(map[string]func(string){"echo": echo, "channel": channel, "server": server})
}
