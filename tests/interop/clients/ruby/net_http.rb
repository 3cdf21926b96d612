# net/http

require "net/http"
require_relative "common"

def lines(url)
  after = "now"
  loop do
    uri = URI("#{url}?after=#{after}")
    request = Net::HTTP::Get.new(uri, "Accept" => "application/x-ndjson")
    buffer = +""
    Net::HTTP.start(uri.host, uri.port, read_timeout: nil) do |http|
      http.request(request) do |response|
        response.read_body do |piece|
          buffer << piece
          while (line = buffer.slice!(/\A[^\n]*\n/))
            next if line == "\n"
            message = JSON.parse(line)
            after = message["at"]
            say(message: message["data"], at: after) if message.key?("data")
          end
        end
      end
    end
  rescue SystemCallError, IOError
    sleep 0.05
  end
end

def poll(url)
  after = "now"
  loop do
    page = JSON.parse(Net::HTTP.get(URI("#{url}?after=#{after}&wait=20")))
    after = page["at"]
    page["messages"].each { |message| say(message: message["data"], at: message["at"]) }
  rescue SystemCallError, IOError
    sleep 0.05
  end
end

def publish(url)
  say(status: Net::HTTP.post(URI(url), PUBLISHED).code.to_i)
end

run(ndjson: method(:lines), poll: method(:poll), publish: method(:publish))
