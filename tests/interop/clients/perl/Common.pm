# What the clients of Perl have in common: reports, and the messages that an echo sends back.
#
# Each is called with a check and a URL, prints one JSON object in a line for what it saw, and fails where that is wrong.
package Common;
use strict;
use warnings;
use Exporter 'import';
use JSON::PP;
use Time::HiRes 'sleep';

our @EXPORT = qw($TEXT $BYTES $LARGE $PUBLISHED say equal long_poll run);

our $TEXT = "sockeye \x{1F41F}";
our $BYTES = "\x00\xff\xfe\x80";
our $LARGE = 'x' x (1 << 20);
our $PUBLISHED = 'from a peer';

$| = 1;
my $json = JSON::PP->new->ascii->canonical->allow_nonref;

sub say {
    my %report = @_;
    print $json->encode(\%report), "\n";
}

sub equal {
    my ($found, $expected) = @_;
    die 'found ' . length($found) . ' characters, expected ' . length($expected) if $found ne $expected;
}

# Polls for ever, as $get->($after) gives a page or nothing.
sub long_poll {
    my $get = shift;
    my $after = 'now';
    while (1) {
        my $text = $get->($after);
        if (!defined $text) {
            sleep 0.05;
            next;
        }
        my $page = decode_json $text;
        $after = $page->{at};
        &say(message => $_->{data}, at => $_->{at}) for @{ $page->{messages} };
    }
}

# Runs the check that the arguments name.
sub run {
    my %checks = @_;
    my ($check, $url) = @ARGV;
    $checks{$check}->($url);
}

1;
