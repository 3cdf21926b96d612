# What the clients of Ruby have in common: reports, and the messages that an echo sends back.
#
# Each is called with a check and a URL, prints one JSON object in a line for what it saw, and fails where that is wrong.

require "json"

TEXT = "sockeye 🐟"
BYTES = [0, 255, 254, 128].pack("C*")
LARGE = "x" * (1 << 20)
PUBLISHED = "from a peer"

$stdout.sync = true

def say(report)
  puts JSON.generate(report)
end

def equal(found, expected)
  abort "found #{found.inspect[0, 200]}, expected #{expected.inspect[0, 200]}" unless found.b == expected.b
end

# Runs the check that the arguments name; a server has no URL.
def run(checks)
  checks.fetch(ARGV[0].to_sym).call(*ARGV[1, 1])
end
