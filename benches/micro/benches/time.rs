//! How long each piece takes: `cargo xtask micro`.

use std::hint::black_box;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, bench};
use sockeye_micro::{
    Channel, Compress, Decode, Echo, Encode, Handshake, Inflate, Pair, Payload, Text,
};

/// Of payloads and messages, in bytes.
const SIZES: [usize; 5] = [20, 125, 1 << 10, 16 << 10, 1 << 20];
/// Of messages that are echoed: how many bytes, and how many with one read.
const ECHOES: [(usize, usize); 6] = [(20, 1), (125, 1), (1024, 1), (20, 16), (125, 16), (1024, 16)];

fn main() {
    divan::main();
}

#[bench(args = SIZES)]
fn mask(bencher: Bencher, size: usize) {
    let mut payload = Payload::new(size);
    bencher.counter(BytesCount::new(size)).bench_local(|| payload.mask());
}

#[bench(args = SIZES)]
fn mask_beside_memcpy(bencher: Bencher, size: usize) {
    let mut payload = Payload::new(size);
    bencher.counter(BytesCount::new(size)).bench_local(|| payload.copy());
}

#[bench(args = [125, 1 << 10, 16 << 10])]
fn utf8_ascii(bencher: Bencher, size: usize) {
    let text = Text::ascii(size);
    bencher.counter(BytesCount::new(size)).bench_local(|| text.check());
}

#[bench(args = [125, 1 << 10, 16 << 10])]
fn utf8_ascii_beside_std(bencher: Bencher, size: usize) {
    let text = Text::ascii(size);
    let check = || std::str::from_utf8(black_box(text.bytes())).is_ok();
    bencher.counter(BytesCount::new(size)).bench_local(check);
}

#[bench(args = [125, 1 << 10, 16 << 10])]
fn utf8_ascii_beside_simdutf8(bencher: Bencher, size: usize) {
    let text = Text::ascii(size);
    let check = || simdutf8::basic::from_utf8(black_box(text.bytes())).is_ok();
    bencher.counter(BytesCount::new(size)).bench_local(check);
}

#[bench(args = [125, 1 << 10, 16 << 10])]
fn utf8_mixed(bencher: Bencher, size: usize) {
    let text = Text::mixed(size);
    bencher.counter(BytesCount::new(size)).bench_local(|| text.check());
}

#[bench(args = [125, 1 << 10, 16 << 10])]
fn utf8_mixed_beside_std(bencher: Bencher, size: usize) {
    let text = Text::mixed(size);
    let check = || std::str::from_utf8(black_box(text.bytes())).is_ok();
    bencher.counter(BytesCount::new(size)).bench_local(check);
}

#[bench(args = [125, 1 << 10, 16 << 10])]
fn utf8_mixed_beside_simdutf8(bencher: Bencher, size: usize) {
    let text = Text::mixed(size);
    let check = || simdutf8::basic::from_utf8(black_box(text.bytes())).is_ok();
    bencher.counter(BytesCount::new(size)).bench_local(check);
}

#[bench(args = [20, 1 << 10, 1 << 20])]
fn frame_decode(bencher: Bencher, size: usize) {
    let decode = Decode::new(size);
    bencher.bench_local(|| black_box(&decode).run());
}

#[bench(args = [20, 1 << 10, 1 << 20])]
fn frame_encode(bencher: Bencher, size: usize) {
    let encode = Encode::new(size);
    bencher.bench_local(|| black_box(&encode).run());
}

/// Items are messages.
#[bench(args = ECHOES)]
fn echo(bencher: Bencher, (size, count): (usize, usize)) {
    let mut echo = Echo::new(size, count);
    bencher.counter(ItemsCount::new(count)).bench_local(|| echo.run());
}

#[bench(args = [20, 1 << 10])]
fn echo_over_a_pair(bencher: Bencher, size: usize) {
    let mut pair = Pair::new(size);
    bencher.bench_local(|| pair.run());
}

#[bench(args = [false, true])]
fn compress_with_takeover(bencher: Bencher, takeover: bool) {
    let mut compress = Compress::new(takeover);
    bencher.bench_local(|| compress.run());
}

#[bench(args = [false, true])]
fn inflate_with_takeover(bencher: Bencher, takeover: bool) {
    let mut inflate = Inflate::new(takeover);
    bencher.bench_local(|| inflate.run());
}

#[bench]
fn handshake(bencher: Bencher) {
    let mut handshake = Handshake::default();
    bencher.bench_local(|| handshake.run());
}

#[bench(args = [128, 1 << 10])]
fn channel_append(bencher: Bencher, size: usize) {
    let mut channel = Channel::new(size);
    bencher.bench_local(|| channel.append());
}

#[bench(args = [128, 1 << 10])]
fn channel_append_and_read(bencher: Bencher, size: usize) {
    let mut channel = Channel::new(size);
    bencher.bench_local(|| channel.append_and_read());
}

/// 100 messages at once.
#[bench(args = [128, 1 << 10])]
fn channel_read(bencher: Bencher, size: usize) {
    let channel = Channel::new(size);
    bencher.counter(ItemsCount::new(100_usize)).bench_local(|| channel.read());
}
