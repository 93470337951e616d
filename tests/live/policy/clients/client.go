// Asks BASE (the first argument) with net/http and prints what it was answered as JSON.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"strings"
	"time"
)

func main() {
	base := os.Args[1]
	jar, _ := cookiejar.New(nil)
	client := &http.Client{
		Jar:       jar,
		Timeout:   20 * time.Second,
		Transport: &http.Transport{ExpectContinueTimeout: time.Second},
	}
	seen := map[string][2]any{}
	ask := func(name, method, path string, body io.Reader, fields ...string) {
		request, err := http.NewRequest(method, base+path, body)
		if err != nil {
			panic(err)
		}
		for i := 0; i < len(fields); i += 2 {
			request.Header.Set(fields[i], fields[i+1])
		}
		answer, err := client.Do(request)
		if err != nil {
			fmt.Fprintln(os.Stderr, name, err)
			os.Exit(1)
		}
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		seen[name] = [2]any{answer.StatusCode, string(text)}
	}
	ask("page", "GET", "/pub/page", nil)
	seen["page"] = [2]any{seen["page"][0], ""}
	ask("plain", "GET", "/pub/a", nil)
	ask("long query", "GET", "/pub/a?q="+strings.Repeat("x", 4000), nil)
	ask("other letters", "GET", "/pub/%C3%BC%20%C3%A4/100%25", nil)
	ask("form", "POST", "/pub/form", strings.NewReader("a=b%26c"), "Content-Type", "application/x-www-form-urlencoded")
	// of unknown length: chunked
	ask("chunked", "POST", "/pub/upload", io.MultiReader(strings.NewReader(strings.Repeat("x", 300000))))
	ask("expects", "POST", "/pub/upload", strings.NewReader(strings.Repeat("x", 3000)), "Expect", "100-continue")
	ask("denied", "GET", "/secret", nil)
	ask("after it", "GET", "/pub/a", nil)
	json.NewEncoder(os.Stdout).Encode(seen)
}
