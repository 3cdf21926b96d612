//! How many instructions each piece takes, by callgrind: `cargo xtask micro --count`.
//!
//! A piece is made before the counting and given back after it, so that neither counts.
#![allow(missing_docs)] // of what the macros make

use std::hint::black_box;

use gungraun::prelude::*;
use sockeye_micro::{
    Channel, Compress, Decode, Echo, Encode, Handshake, Inflate, Pair, Payload, Text,
};

fn boxed<P>(piece: P) -> Box<P> {
    Box::new(piece)
}

fn payload(size: usize) -> Box<Payload> {
    boxed(Payload::new(size))
}

fn ascii(size: usize) -> Text {
    warm(Text::ascii(size))
}

fn mixed(size: usize) -> Text {
    warm(Text::mixed(size))
}

/// The check looks once what the processor can do.
fn warm(text: Text) -> Text {
    black_box(text.check());
    text
}

fn warm_echo(size: usize, count: usize) -> Box<Echo> {
    boxed(Echo::new(size, count))
}

#[library_benchmark(setup = payload)]
#[bench::of_20_bytes(20)]
#[bench::of_125_bytes(125)]
#[bench::of_1_kib(1 << 10)]
#[bench::of_16_kib(16 << 10)]
#[bench::of_1_mib(1 << 20)]
fn mask(mut payload: Box<Payload>) -> Box<Payload> {
    payload.mask();
    payload
}

#[library_benchmark(setup = ascii)]
#[bench::of_125_bytes(125)]
#[bench::of_1_kib(1 << 10)]
#[bench::of_16_kib(16 << 10)]
fn utf8_ascii(text: Text) -> (bool, Text) {
    (text.check(), text)
}

#[library_benchmark(setup = mixed)]
#[bench::of_125_bytes(125)]
#[bench::of_1_kib(1 << 10)]
#[bench::of_16_kib(16 << 10)]
fn utf8_mixed(text: Text) -> (bool, Text) {
    (text.check(), text)
}

#[library_benchmark(setup = Decode::new)]
#[bench::of_20_bytes(20)]
#[bench::of_1_kib(1 << 10)]
#[bench::of_1_mib(1 << 20)]
fn frame_decode(frame: Decode) -> (u64, Decode) {
    (frame.run(), frame)
}

#[library_benchmark(setup = Encode::new)]
#[bench::of_20_bytes(20)]
#[bench::of_1_kib(1 << 10)]
#[bench::of_1_mib(1 << 20)]
fn frame_encode(header: Encode) -> (usize, Encode) {
    (header.run(), header)
}

#[library_benchmark(setup = warm_echo)]
#[bench::of_20_bytes(20, 1)]
#[bench::of_125_bytes(125, 1)]
#[bench::of_1_kib(1024, 1)]
#[bench::of_20_bytes_16_at_once(20, 16)]
#[bench::of_125_bytes_16_at_once(125, 16)]
#[bench::of_1_kib_16_at_once(1024, 16)]
fn echo(mut echo: Box<Echo>) -> Box<Echo> {
    echo.run();
    echo
}

#[library_benchmark]
#[bench::of_20_bytes(boxed(Pair::new(20)))]
#[bench::of_1_kib(boxed(Pair::new(1024)))]
fn echo_over_a_pair(mut pair: Box<Pair>) -> Box<Pair> {
    pair.run();
    pair
}

#[library_benchmark]
#[bench::without_takeover(boxed(Compress::new(false)))]
#[bench::with_takeover(boxed(Compress::new(true)))]
fn compress(mut compress: Box<Compress>) -> Box<Compress> {
    compress.run();
    compress
}

#[library_benchmark]
#[bench::without_takeover(boxed(Inflate::new(false)))]
#[bench::with_takeover(boxed(Inflate::new(true)))]
fn inflate(mut inflate: Box<Inflate>) -> Box<Inflate> {
    inflate.run();
    inflate
}

fn warm_handshake() -> Handshake {
    let mut handshake = Handshake::default();
    handshake.run();
    handshake
}

#[library_benchmark]
#[bench::of_a_server(warm_handshake())]
fn handshake(mut handshake: Handshake) -> Handshake {
    black_box(handshake.run());
    handshake
}

#[library_benchmark]
#[bench::of_128_bytes(boxed(Channel::new(128)))]
#[bench::of_1_kib(boxed(Channel::new(1024)))]
fn channel_append(mut channel: Box<Channel>) -> Box<Channel> {
    channel.append();
    channel
}

#[library_benchmark]
#[bench::of_128_bytes(boxed(Channel::new(128)))]
#[bench::of_1_kib(boxed(Channel::new(1024)))]
fn channel_append_and_read(mut channel: Box<Channel>) -> Box<Channel> {
    channel.append_and_read();
    channel
}

#[library_benchmark]
#[bench::of_128_bytes_100_at_once(boxed(Channel::new(128)))]
#[bench::of_1_kib_100_at_once(boxed(Channel::new(1024)))]
fn channel_read(channel: Box<Channel>) -> Box<Channel> {
    black_box(channel.read());
    channel
}

library_benchmark_group!(
    name = pieces,
    benchmarks = [
        mask,
        utf8_ascii,
        utf8_mixed,
        frame_decode,
        frame_encode,
        echo,
        echo_over_a_pair,
        compress,
        inflate,
        handshake,
        channel_append,
        channel_append_and_read,
        channel_read
    ]
);

/// Has the C library clear and copy by vector instructions also where it would take a string instruction:
/// callgrind counts that once for each byte, whatever time it takes.
const NO_STRING_INSTRUCTIONS: &str =
    "glibc.cpu.x86_rep_stosb_threshold=1000000000:glibc.cpu.x86_rep_movsb_threshold=1000000000";

main!(
    config = LibraryBenchmarkConfig::default().env("GLIBC_TUNABLES", NO_STRING_INSTRUCTIONS),
    library_benchmark_groups = pieces
);
