//! A contact sheet of the dashboard: every panel drawn from what a real Prometheus says, so that a person can look.
//!
//! `RAGQ_DRAW=sheet.html cargo test --test it observe::dashboard`, then open it, or
//! `chromium --headless --screenshot=sheet.png --window-size=1500,2600 sheet.html`.

use std::{fmt::Write as _, path::PathBuf};

use super::{dashboard::Panel, prometheus::Prometheus};

/// How far back the sheet looks, in seconds.
const SECONDS: u64 = 90;

const COLOURS: [&str; 8] = ["#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#17becf", "#7f7f7f"];

/// Where the sheet is to be written, if it is.
pub fn wanted() -> Option<PathBuf> {
    std::env::var_os("RAGQ_DRAW").map(PathBuf::from)
}

/// Draws all panels.
pub async fn draw(prometheus: &Prometheus, panels: &[Panel], path: &PathBuf) {
    let mut page = "<!doctype html><meta charset=utf-8><style>body{font:11px sans-serif;display:flex;flex-wrap:wrap}\
        figure{margin:6px}</style>"
        .to_owned();
    for panel in panels {
        let mut lines = Vec::new();
        for expression in &panel.expressions {
            for series in prometheus.range(expression, SECONDS).await {
                let values = series["values"].as_array().expect("values").iter();
                let points: Vec<(f64, f64)> = values
                    .filter_map(|point| Some((point[0].as_f64()?, point[1].as_str()?.parse::<f64>().ok()?)))
                    .filter(|(_, value)| value.is_finite())
                    .collect();
                lines.push(points);
            }
        }
        figure(&mut page, &panel.title, &lines);
    }
    std::fs::write(path, page).expect("the sheet can be written");
}

fn figure(page: &mut String, title: &str, lines: &[Vec<(f64, f64)>]) {
    let all = || lines.iter().flatten();
    let top = all().map(|point| point.1).fold(0.0_f64, f64::max).max(1e-9);
    let begin = all().map(|point| point.0).fold(f64::INFINITY, f64::min);
    write!(
        page,
        "<figure><figcaption>{title} (to {top:.3}, {} series)</figcaption><svg width=340 height=130 \
        style='background:#f6f6f6'>",
        lines.len()
    )
    .expect("text");
    for (number, points) in lines.iter().enumerate() {
        let place = |&(at, value): &(f64, f64)| {
            format!("{:.1},{:.1}", (at - begin) / SECONDS as f64 * 340.0, 128.0 - value / top * 124.0)
        };
        let points = points.iter().map(place).collect::<Vec<_>>().join(" ");
        let colour = COLOURS[number % COLOURS.len()];
        write!(page, "<polyline fill=none stroke='{colour}' points='{points}'/>").expect("text");
    }
    page.push_str("</svg></figure>");
}
