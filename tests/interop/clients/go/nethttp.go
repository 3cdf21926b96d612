// net/http
package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

type message struct {
	At   string
	Data any
}

func lines(url string) {
	for after := "now"; ; time.Sleep(50 * time.Millisecond) {
		request, err := http.NewRequest("GET", url+"?after="+after, nil)
		must(err)
		request.Header.Set("Accept", "application/x-ndjson")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			continue
		}
		for scanner := bufio.NewScanner(response.Body); scanner.Scan(); {
			var m message
			if json.Unmarshal(scanner.Bytes(), &m) == nil {
				after = m.At
				if m.Data != nil {
					say(map[string]any{"message": m.Data, "at": m.At})
				}
			}
		}
		response.Body.Close()
	}
}

func poll(url string) {
	for after := "now"; ; {
		response, err := http.Get(url + "?wait=20&after=" + after)
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		var page struct {
			At       string
			Messages []message
		}
		must(json.NewDecoder(response.Body).Decode(&page))
		response.Body.Close()
		after = page.At
		for _, m := range page.Messages {
			say(map[string]any{"message": m.Data, "at": m.At})
		}
	}
}

func publish(url string) {
	request, err := http.NewRequest("POST", url, strings.NewReader(published))
	must(err)
	response, err := http.DefaultClient.Do(request)
	must(err)
	say(map[string]any{"status": response.StatusCode})
}

func main() {
	run(map[string]func(string){"ndjson": lines, "poll": poll, "publish": publish})
}
