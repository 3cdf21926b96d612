// donovanhide/eventsource
package main

import (
	"encoding/json"

	"github.com/donovanhide/eventsource"
)

func sse(url string) {
	stream, err := eventsource.Subscribe(url, "")
	must(err)
	go func() {
		// A cut, after which it goes on by itself.
		for range stream.Errors {
		}
	}()
	for event := range stream.Events {
		var data any
		must(json.Unmarshal([]byte(event.Data()), &data))
		say(map[string]any{"message": data, "at": event.Id()})
	}
}

func main() {
	run(map[string]func(string){"sse": sse})
}
