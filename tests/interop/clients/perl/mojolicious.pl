# Mojolicious
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Common;
use Mojo::IOLoop;
use Mojo::JSON 'decode_json';
use Mojo::UserAgent;

my $ua = Mojo::UserAgent->new(inactivity_timeout => 0, max_response_size => 0);

sub open_url {
    my ($url, $talk) = @_;
    my %headers = ($ARGV[2] // '') eq 'compressed' ? ('Sec-WebSocket-Extensions' => 'permessage-deflate') : ();
    $ua->websocket($url => \%headers => sub {
        my (undef, $tx) = @_;
        die 'no WebSocket' unless $tx->is_websocket;
        $tx->max_websocket_size(1 << 21);
        $talk->($tx);
    });
    Mojo::IOLoop->start;
}

sub echo {
    # `text` is bytes of UTF-8; a plain string is encoded.
    my @messages = ($TEXT, { binary => $BYTES }, $LARGE);
    my $count = 0;
    open_url(shift, sub {
        my $tx = shift;
        $tx->on(message => sub {
            my $message = $messages[$count++];
            equal($_[1], ref $message ? $message->{binary} : $message);
            $count < @messages ? $tx->send($messages[$count]) : $tx->finish(1000);
        });
        $tx->on(finish => sub {
            Common::say(echo => $count, closed => $_[1]);
            Mojo::IOLoop->stop;
        });
        $tx->send($messages[0]);
    });
}

sub channel {
    my $count = 0;
    open_url(shift, sub {
        my $tx = shift;
        $tx->on(message => sub {
            Common::say(message => $_[1]);
            Mojo::IOLoop->stop if ++$count == 2;
        });
        $tx->send($PUBLISHED);
    });
}

# Reads the lines of a stream, and goes on after each cut.
sub lines {
    my ($request, $line) = @_;
    my $tx = $ua->build_tx($request->());
    my $buffer = '';
    $tx->res->content->unsubscribe('read')->on(read => sub {
        $buffer .= $_[1];
        $line->($1) while $buffer =~ s/^([^\n]*)\n//;
    });
    $ua->start($tx => sub { Mojo::IOLoop->timer(0.05 => sub { lines($request, $line) }) });
}

sub sse {
    my $url = shift;
    my $last;
    lines(
        sub { GET => $url => { Accept => 'text/event-stream', defined $last ? ('Last-Event-ID' => $last) : () } },
        sub {
            $last = $1 if $_[0] =~ /^id: (.*)/;
            Common::say(message => decode_json($1), at => $last) if $_[0] =~ /^data: (.*)/;
        });
    Mojo::IOLoop->start;
}

sub ndjson {
    my $url = shift;
    my $after = 'now';
    lines(
        sub { GET => "$url?after=$after" => { Accept => 'application/x-ndjson' } },
        sub {
            return unless length $_[0];
            my $message = decode_json($_[0]);
            $after = $message->{at};
            Common::say(message => $message->{data}, at => $after) if exists $message->{data};
        });
    Mojo::IOLoop->start;
}

sub server {
    require Mojolicious;
    require Mojo::Server::Daemon;
    my $app = Mojolicious->new;
    $app->log->level('fatal');
    $app->routes->websocket('/' => sub {
        my $c = shift;
        $c->tx->max_websocket_size(1 << 21)->with_compression;
        $c->on(text => sub { $_[0]->tx->send({ text => $_[1] }) });
        $c->on(binary => sub { $_[0]->tx->send({ binary => $_[1] }) });
    });
    my $daemon = Mojo::Server::Daemon->new(app => $app, listen => ['http://127.0.0.1'], silent => 1);
    $daemon->start;
    Common::say(port => 0 + $daemon->ports->[0]);
    Mojo::IOLoop->start;
}

run(
    echo => \&echo,
    channel => \&channel,
    sse => \&sse,
    ndjson => \&ndjson,
    poll => sub {
        my $url = shift;
        long_poll(sub { eval { $ua->get("$url?wait=20&after=$_[0]")->result->body } });
    },
    publish => sub { Common::say(status => $ua->post($_[0] => $PUBLISHED)->result->code + 0) },
    server => \&server,
);
