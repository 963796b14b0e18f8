// Small charts of the last hour, drawn as SVG: lines, or bars that stand on each other. What a chart shows is also said
// in words; under the pointer it tells the values of that time.
import { html, useState } from "./ui.js";
import { time } from "./words.js";

const WIDTH = 600;
const HEIGHT = 120;

/** A round number at or above the largest value. */
function ceiling(largest) {
  if (largest <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(largest));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= largest);
}

/** Lines with gaps where there is no value; a value alone between two gaps is a short dash. */
function path(values, x, y) {
  let drawing = false;
  return values
    .map((value, at) => {
      if (value === null || value === undefined) {
        drawing = false;
        return "";
      }
      const command = drawing ? "L" : "M";
      const alone = !drawing && (values[at + 1] ?? null) === null;
      drawing = true;
      return `${command}${x(at).toFixed(1)} ${y(value).toFixed(1)}${alone ? "h3" : ""}`;
    })
    .join("");
}

function Bars({ series, x, y, step }) {
  const each = (at) => {
    let below = 0;
    return series.map(({ tone, values }) => {
      const value = values[at] ?? 0;
      const top = y(below + value);
      const height = y(below) - top;
      below += value;
      return value > 0 && html`<rect class=${`fill ${tone}`} x=${(x(at) - step / 2).toFixed(1)} y=${top.toFixed(1)}
        width=${Math.max(1, step * 0.8).toFixed(1)} height=${height.toFixed(1)} />`;
    });
  };
  return series[0].values.map((_, at) => each(at));
}

/** `series`: `[{ name, tone, values }]` along `times`; `words` puts a value in words. */
export function Chart({ title, series, times, words, stacked = false }) {
  const [at, setAt] = useState(undefined);
  const sums = times.map((_, n) => series.map(({ values }) => values[n] ?? 0));
  const most = ceiling(Math.max(0, ...sums.map((all) => (stacked ? all.reduce((a, b) => a + b, 0) : Math.max(...all)))));
  const step = WIDTH / Math.max(1, times.length);
  const x = (n) => (n + 0.5) * step;
  const y = (value) => HEIGHT - (value / most) * HEIGHT;
  const last = times.length - 1;
  const shown = at === undefined || at > last ? last : at;
  const value = (values) => (values[shown] === null || values[shown] === undefined ? "none" : words(values[shown]));
  const onPointerMove = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    setAt(Math.max(0, Math.min(last, Math.floor(((event.clientX - box.left) / box.width) * times.length))));
  };
  const said = series.map(({ name, values }) => `${name} ${value(values)}`).join(", ");
  return html`<figure class="card chart">
    <figcaption><h3>${title}</h3>
      <span class="faint">${time(times[shown])}</span></figcaption>
    <p class="legend">${series.map(({ name, tone, values }) => html`<span key=${name}><i class=${`swatch ${tone}`} aria-hidden="true"></i>${name} <b>${value(values)}</b></span>`)}</p>
    <div class="plot">
      <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${`${title} since ${time(times[0])}; at ${time(times[shown])}: ${said}; the scale ends at ${words(most)}`}
          onPointerMove=${onPointerMove} onPointerLeave=${() => setAt(undefined)}>
        ${[0, 0.5, 1].map((part) => html`<line class="grid" x1="0" x2=${WIDTH} y1=${y(most * part)} y2=${y(most * part)} />`)}
        ${stacked
          ? html`<${Bars} series=${series} x=${x} y=${y} step=${step} />`
          : series.map(({ name, tone, values }) => html`<path key=${name} class=${`line ${tone}`} d=${path(values, x, y)} />`)}
        ${at !== undefined && html`<line class="cursor" x1=${x(shown)} x2=${x(shown)} y1="0" y2=${HEIGHT} />`}
      </svg>
      <span class="most faint" aria-hidden="true">${words(most)}</span>
    </div>
    <p class="axis faint" aria-hidden="true"><span>${time(times[0])}</span><span>${time(times[last])}</span></p>
  </figure>`;
}
