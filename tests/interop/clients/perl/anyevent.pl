# AnyEvent::WebSocket::Client
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use AnyEvent;
use AnyEvent::WebSocket::Client;
use AnyEvent::WebSocket::Message;
use Common;

my $done = AnyEvent->condvar;
# It stays open as long as somebody holds it.
my $connection;

sub open_url {
    my ($url, $talk) = @_;
    my $client = AnyEvent::WebSocket::Client->new(max_payload_size => 1 << 21);
    $client->connect($url)->cb(sub {
        $connection = eval { shift->recv } or die $@;
        $talk->();
    });
    $done->recv;
}

sub echo {
    my @messages = (
        AnyEvent::WebSocket::Message->new(body => $TEXT),
        AnyEvent::WebSocket::Message->new(body => $BYTES, opcode => 2),
        AnyEvent::WebSocket::Message->new(body => $LARGE),
    );
    my $count = 0;
    open_url(shift, sub {
        $connection->on(each_message => sub {
            my $message = $_[1];
            equal($message->is_text ? $message->decoded_body : $message->body, $messages[$count++]->body);
            $count < @messages ? $connection->send($messages[$count]) : $connection->close(1000);
        });
        $connection->on(finish => sub {
            Common::say(echo => $count, closed => 0 + $connection->close_code);
            $done->send;
        });
        $connection->send($messages[0]);
    });
}

sub channel {
    my $count = 0;
    open_url(shift, sub {
        $connection->on(each_message => sub {
            Common::say(message => $_[1]->decoded_body);
            $done->send if ++$count == 2;
        });
        $connection->send($PUBLISHED);
    });
}

run(echo => \&echo, channel => \&channel);
