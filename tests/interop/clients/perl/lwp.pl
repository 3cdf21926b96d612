# LWP
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Common;
use JSON::PP;
use LWP::UserAgent;

my $ua = LWP::UserAgent->new;

sub ndjson {
    my $url = shift;
    my $after = 'now';
    while (1) {
        my $buffer = '';
        my $read = sub {
            $buffer .= $_[0];
            while ($buffer =~ s/^([^\n]*)\n//) {
                next unless length $1;
                my $message = decode_json $1;
                $after = $message->{at};
                Common::say(message => $message->{data}, at => $after) if exists $message->{data};
            }
        };
        $ua->get("$url?after=$after", Accept => 'application/x-ndjson', ':content_cb' => $read, ':read_size_hint' => 1);
        select undef, undef, undef, 0.05;
    }
}

sub page {
    my $response = $ua->get("$_[0]?wait=20&after=$_[1]");
    return $response->is_success && !$response->header('X-Died') ? $response->content : undef;
}

run(
    ndjson => \&ndjson,
    poll => sub {
        my $url = shift;
        long_poll(sub { page($url, shift) });
    },
    publish => sub { Common::say(status => $ua->post($_[0], Content => $PUBLISHED)->code + 0) },
);
