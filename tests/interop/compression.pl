# A client and a server made with Mojolicious, with its own offer of compression and its own answer:
# compression.pl client URL | compression.pl server
#
# The client sends messages alike, each of which has to come back; then it reports what was agreed on.
# The server sends every message back, on a free port that it reports.
use Mojo::Base -strict;
use Mojo::IOLoop;
use Mojo::JSON qw(encode_json);
use Mojo::Server::Daemon;
use Mojo::UserAgent;
use Mojolicious;

sub say_json { local $| = 1; print encode_json(shift), "\n" }

sub message {
    my $number = shift;
    return qq({"number":$number,"text":") . 'the same text again, ' x 40 . '"}';
}

sub client {
    my $url = shift;
    my $ua = Mojo::UserAgent->new;
    my ($number, $failure) = (0, 'no answer');
    my $offer = {'Sec-WebSocket-Extensions' => 'permessage-deflate'};
    $ua->websocket(
        $url => $offer => sub {
            my (undef, $tx) = @_;
            return Mojo::IOLoop->stop unless $tx->is_websocket;
            $tx->on(finish => sub { $failure //= "closed with $_[1]"; Mojo::IOLoop->stop });
            $tx->on(
                message => sub {
                    my (undef, $echo) = @_;
                    return $tx->finish unless $echo eq message($number);
                    return $tx->send(message($number)) if ++$number < 5;
                    $failure = '';
                    say_json({extensions => $tx->res->headers->sec_websocket_extensions // ''});
                    $tx->finish(1000);
                }
            );
            $failure = undef;
            $tx->send(message(0));
        }
    );
    Mojo::IOLoop->start;
    die "message $number: $failure\n" if $failure;
}

sub server {
    my $app = Mojolicious->new;
    $app->log->level('fatal');
    $app->routes->websocket('/')->to(
        cb => sub {
            my $c = shift;
            $c->tx->with_compression;
            $c->on(text   => sub { $_[0]->send({text => $_[1]}) });
            $c->on(binary => sub { $_[0]->send({binary => $_[1]}) });
        }
    );
    my $daemon = Mojo::Server::Daemon->new(app => $app, listen => ['http://127.0.0.1:0'], silent => 1);
    $daemon->start;
    say_json({port => $daemon->ports->[0] + 0});
    Mojo::IOLoop->start;
}

$ARGV[0] eq 'client' ? client($ARGV[1]) : server();
