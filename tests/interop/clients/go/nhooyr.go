// nhooyr.io/websocket
package main

import (
	"context"
	"net"
	"net/http"

	"nhooyr.io/websocket"
)

var background = context.Background()

func open(url string) *websocket.Conn {
	ws, _, err := websocket.Dial(background, url, nil)
	must(err)
	ws.SetReadLimit(1 << 21)
	return ws
}

func echo(url string) {
	ws := open(url)
	exchange := func(kind websocket.MessageType, message []byte) {
		must(ws.Write(background, kind, message))
		_, found, err := ws.Read(background)
		must(err)
		equal(found, message)
	}
	exchange(websocket.MessageText, []byte(text))
	exchange(websocket.MessageBinary, binary)
	exchange(websocket.MessageText, []byte(large))
	// It waits for the server's Close.
	must(ws.Close(websocket.StatusNormalClosure, ""))
	say(map[string]any{"echo": 3, "closed": 1000})
}

func channel(url string) {
	ws := open(url)
	must(ws.Write(background, websocket.MessageText, []byte(published)))
	for i := 0; i < 2; i++ {
		_, message, err := ws.Read(background)
		must(err)
		say(map[string]any{"message": string(message)})
	}
}

func server(string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	say(map[string]any{"port": listener.Addr().(*net.TCPAddr).Port})
	must(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		must(err)
		ws.SetReadLimit(1 << 21)
		for {
			kind, message, err := ws.Read(background)
			if err != nil || ws.Write(background, kind, message) != nil {
				return
			}
		}
	})))
}

func main() {
	run(map[string]func(string){"echo": echo, "channel": channel, "server": server})
}
