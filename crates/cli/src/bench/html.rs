//! The report as a page of its own: the figures, and the latencies by percentile.

use super::report::{Figure, Report, micros};

/// The plot's size, without the room for its labels.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 280.0;

/// The percentiles on the horizontal axis, each a step of equal width: the interest is in the tail.
const STEPS: [f64; 7] = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999];

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let title = escaped(report.title());
    let rows: String = report
        .figures()
        .iter()
        .map(|Figure { name, value, unit }| {
            format!("<tr><th>{name}</th><td>{value:.2}</td><td>{unit}</td></tr>\n")
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
<table>
{rows}</table>
{}
</html>
",
        plot(report)
    )
}

/// Latency over percentile, both in steps that show the tail.
fn plot(report: &Report) -> String {
    let Some(latencies) = report.latencies() else { return String::new() };
    let (low, high) = (latencies.min().max(1) as f64, latencies.max().max(10) as f64);
    let (low, high) = (low.log10().floor(), high.log10().ceil());
    let y = |nanos: u64| {
        HEIGHT - (nanos.max(1) as f64).log10().mul_add(1.0, -low) / (high - low).max(1.0) * HEIGHT
    };
    let step = WIDTH / (STEPS.len() - 1) as f64;
    let mut points = String::new();
    let mut labels = String::new();
    for (index, pair) in STEPS.windows(2).enumerate() {
        for part in 0..=10 {
            let percentile = pair[0] + (pair[1] - pair[0]) * f64::from(part) / 10.0;
            let x = step * (index as f64 + f64::from(part) / 10.0);
            let value = latencies.value_at_percentile(percentile);
            points.push_str(&format!("{x:.1},{:.1} ", y(value)));
        }
    }
    for (index, percentile) in STEPS.iter().enumerate() {
        let x = step * index as f64;
        labels.push_str(&format!(
            "<text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{percentile} %</text>",
            HEIGHT + 18.0
        ));
    }
    for decade in low as i32..=high as i32 {
        let nanos = 10_u64.saturating_pow(decade.unsigned_abs());
        let at = y(nanos);
        labels.push_str(&format!(
            "<line x1=\"0\" x2=\"{WIDTH}\" y1=\"{at:.0}\" y2=\"{at:.0}\" stroke=\"#ddd\"/>\
             <text x=\"-6\" y=\"{:.0}\" text-anchor=\"end\">{} µs</text>",
            at + 4.0,
            micros(nanos)
        ));
    }
    format!(
        "<svg viewBox=\"-90 -10 {} {}\" role=\"img\" aria-label=\"Latency by percentile\">{labels}\
         <polyline points=\"{points}\" fill=\"none\" stroke=\"#c0392b\" stroke-width=\"2\"/></svg>",
        WIDTH + 120.0,
        HEIGHT + 40.0
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
