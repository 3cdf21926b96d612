//! The report as a page of its own: the figures, and the latencies by percentile.

use super::report::{Figure, Latencies, Report, micros};

/// The plot's size, without the room for its labels.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 280.0;

/// The percentiles on the horizontal axis, each a step of equal width: the interest is in the tail.
const STEPS: [f64; 7] = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999];

/// The whole page, on a run against this server that ended at this time.
pub(super) fn page(report: &Report, server: &str, time: &str) -> String {
    let (title, server) = (escaped(report.title()), escaped(server));
    let rows: String = report
        .figures()
        .iter()
        .map(|figure| {
            let (Figure { name, unit, .. }, value) = (figure, figure.rounded());
            format!("<tr><th>{name}</th><td>{value}</td><td>{unit}</td></tr>\n")
        })
        .collect();
    format!(
        "<!doctype html>
<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 46rem; padding: 0 1rem }}
th {{ text-align: left; font-weight: normal; padding-right: 2rem }}
td {{ font-variant-numeric: tabular-nums; text-align: right }}
td:last-child {{ text-align: left; color: #666 }}
svg {{ width: 100%; margin-top: 1rem }} text {{ font: 12px system-ui, sans-serif; fill: #666 }}
</style>
<h1>sockeye bench</h1>
<p>{title}</p>
<p>{server}, {time}</p>
<table>
{rows}</table>
{}
</html>
",
        plot(report)
    )
}

/// The colours of the lines.
const COLOURS: [&str; 2] = ["#c0392b", "#2471a3"];

/// Latency over percentile, both in steps that show the tail.
fn plot(report: &Report) -> String {
    let histograms = || report.latencies().iter().map(|latencies| &latencies.histogram);
    let (Some(low), Some(high)) =
        (histograms().map(|all| all.min()).min(), histograms().map(|all| all.max()).max())
    else {
        return String::new();
    };
    let (low, high) = (low.max(1) as f64, high.max(10) as f64);
    let (low, high) = (low.log10().floor(), high.log10().ceil());
    let y = |nanos: u64| {
        HEIGHT - (nanos.max(1) as f64).log10().mul_add(1.0, -low) / (high - low).max(1.0) * HEIGHT
    };
    let mut drawing = grid(low as i32..=high as i32, y);
    for (Latencies { name, histogram }, colour) in report.latencies().iter().zip(COLOURS) {
        let points = line(|percentile| y(histogram.value_at_percentile(percentile)));
        drawing.push_str(&format!(
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\">\
             <title>{name}</title></polyline>"
        ));
    }
    format!(
        "<svg viewBox=\"-90 -10 {} {}\" role=\"img\" aria-label=\"Latency by percentile\">{drawing}</svg>{}",
        WIDTH + 120.0,
        HEIGHT + 40.0,
        legend(report)
    )
}

/// The points of a line from the first step to the last.
fn line(y: impl Fn(f64) -> f64) -> String {
    let step = WIDTH / (STEPS.len() - 1) as f64;
    let mut points = String::new();
    for (index, pair) in STEPS.windows(2).enumerate() {
        for part in 0..=10 {
            let percentile = pair[0] + (pair[1] - pair[0]) * f64::from(part) / 10.0;
            let x = step * (index as f64 + f64::from(part) / 10.0);
            points.push_str(&format!("{x:.1},{:.1} ", y(percentile)));
        }
    }
    points
}

/// The percentiles below, and a line for each power of ten.
fn grid(decades: impl Iterator<Item = i32>, y: impl Fn(u64) -> f64) -> String {
    let step = WIDTH / (STEPS.len() - 1) as f64;
    let mut labels = String::new();
    for (index, percentile) in STEPS.iter().enumerate() {
        let x = step * index as f64;
        labels.push_str(&format!(
            "<text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{percentile} %</text>",
            HEIGHT + 18.0
        ));
    }
    for decade in decades {
        let nanos = 10_u64.saturating_pow(decade.unsigned_abs());
        let at = y(nanos);
        labels.push_str(&format!(
            "<line x1=\"0\" x2=\"{WIDTH}\" y1=\"{at:.0}\" y2=\"{at:.0}\" stroke=\"#ddd\"/>\
             <text x=\"-6\" y=\"{:.0}\" text-anchor=\"end\">{} µs</text>",
            at + 4.0,
            micros(nanos)
        ));
    }
    labels
}

/// Which line is what, where there are several.
fn legend(report: &Report) -> String {
    if report.latencies().len() < 2 {
        return String::new();
    }
    let entries = report.latencies().iter().zip(COLOURS).map(|(Latencies { name, .. }, colour)| {
        format!("<span style=\"color: {colour}\">{name}</span>")
    });
    format!("<p>{}</p>", entries.collect::<Vec<_>>().join(", "))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
