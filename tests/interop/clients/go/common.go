// What the clients of Go have in common: reports, and the messages that an echo sends back.
//
// Each is called with a check and a URL, prints one JSON object in a line for what it saw, and fails where that is wrong.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

const (
	text      = "sockeye 🐟"
	published = "from a peer"
)

var (
	binary = []byte{0, 255, 254, 128}
	large  = strings.Repeat("x", 1<<20)
)

func say(report map[string]any) {
	line, err := json.Marshal(report)
	must(err)
	fmt.Println(string(line))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func equal(found, expected []byte) {
	if !bytes.Equal(found, expected) {
		must(fmt.Errorf("found %d bytes, expected %d", len(found), len(expected)))
	}
}

// run calls the check that the arguments name.
func run(checks map[string]func(url string)) {
	url := ""
	if len(os.Args) > 2 {
		url = os.Args[2]
	}
	checks[os.Args[1]](url)
}
