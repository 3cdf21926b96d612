// gorilla/websocket
package main

import (
	"net"
	"net/http"

	"github.com/gorilla/websocket"
)

func open(url string) *websocket.Conn {
	dialer := websocket.Dialer{EnableCompression: true}
	ws, _, err := dialer.Dial(url, nil)
	must(err)
	return ws
}

func echo(url string) {
	ws := open(url)
	exchange := func(kind int, message []byte) {
		must(ws.WriteMessage(kind, message))
		_, found, err := ws.ReadMessage()
		must(err)
		equal(found, message)
	}
	exchange(websocket.TextMessage, []byte(text))
	exchange(websocket.BinaryMessage, binary)
	exchange(websocket.TextMessage, []byte(large))
	must(ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "")))
	_, _, err := ws.ReadMessage()
	say(map[string]any{"echo": 3, "closed": err.(*websocket.CloseError).Code})
}

func channel(url string) {
	ws := open(url)
	must(ws.WriteMessage(websocket.TextMessage, []byte(published)))
	for i := 0; i < 2; i++ {
		_, message, err := ws.ReadMessage()
		must(err)
		say(map[string]any{"message": string(message)})
	}
}

func server(string) {
	upgrader := websocket.Upgrader{EnableCompression: true}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	say(map[string]any{"port": listener.Addr().(*net.TCPAddr).Port})
	must(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		must(err)
		defer ws.Close()
		for {
			kind, message, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(kind, message) != nil {
				return
			}
		}
	})))
}

func main() {
	run(map[string]func(string){"echo": echo, "channel": channel, "server": server})
}
