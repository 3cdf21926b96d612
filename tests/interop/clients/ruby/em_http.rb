# em-http-request

require "em-http-request"
require_relative "common"

# No time limit for a silent stream.
def open_url(url)
  EM::HttpRequest.new(url, inactivity_timeout: 0)
end

def sse(url, last = nil)
  headers = { "Accept" => "text/event-stream" }
  headers["Last-Event-ID"] = last if last
  buffer = +""
  http = open_url(url).get(head: headers)
  http.stream do |piece|
    buffer << piece
    while (line = buffer.slice!(/\A[^\n]*\n/))
      last = line.chomp.delete_prefix("id: ") if line.start_with?("id: ")
      say(message: JSON.parse(line.delete_prefix("data: ")), at: last) if line.start_with?("data: ")
    end
  end
  again = ->(*) { EM.add_timer(0.05) { sse(url, last) } }
  http.callback(&again)
  http.errback(&again)
end

def poll(url, after = "now")
  http = open_url(url).get(query: { after: after, wait: 20 })
  http.callback do
    page = JSON.parse(http.response)
    page["messages"].each { |message| say(message: message["data"], at: message["at"]) }
    poll(url, page["at"])
  end
  http.errback { EM.add_timer(0.05) { poll(url, after) } }
end

def publish(url)
  http = open_url(url).post(body: PUBLISHED)
  http.callback do
    say(status: http.response_header.status)
    EM.stop
  end
end

in_reactor = ->(check) { ->(url) { EM.run { check.call(url) } } }
run(sse: in_reactor.call(method(:sse)), poll: in_reactor.call(method(:poll)), publish: in_reactor.call(method(:publish)))
