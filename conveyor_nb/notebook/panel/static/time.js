// Time as a page shows it: by the store's clock, which may be a made-up one.

/** A duration in seconds, in a few characters. */
export function span(seconds) {
  const s = Math.abs(seconds);
  if (s < 0.0995) return `${Math.round(s * 1000)}ms`;
  if (s < 9.95) return `${s.toFixed(1)}s`;
  if (s < 59.5) return `${Math.round(s)}s`;
  if (s < 3570) return `${Math.round(s / 60)}m`;
  if (s < 84600) return `${Math.round(s / 3600)}h`;
  return `${Math.round(s / 86400)}d`;
}

/**
 * The store's clock as a page knows it: from the last frame on it goes by itself.
 * @param {() => {now: number, speed: number}} read gives the clock of the last frame, in seconds
 */
export function storeClock(read) {
  let received = performance.now();
  const now = () => read().now + ((performance.now() - received) / 1000) * read().speed;

  /** The time zone of the whole page, by its name; a made-up clock is read as it prints. */
  const zoneName = () => read().speed === 0 ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone;

  /** The instant as a time, or as a date and time, in the zone of the page. */
  function text(at, withDate = false) {
    const zone = zoneName();
    const when = new Date(at * 1000);
    const time = when.toLocaleTimeString("en-GB", { timeZone: zone });
    return withDate ? `${when.toLocaleDateString("en-CA", { timeZone: zone })} ${time}` : time;
  }

  /** The same as a weekday, a date and a time, as one says it of what is to come. */
  function day(at) {
    const zone = read().speed === 0 ? "UTC" : undefined;
    const date = new Date(at * 1000).toLocaleDateString("en-GB",
      { weekday: "short", day: "numeric", month: "short", timeZone: zone });
    return `${date.replace(",", "")} ${text(at).replace(/:00$/, "")}`;
  }

  function ago(at) {
    const age = now() - at;
    if (age < -0.05) return `in ${span(age)}`;
    return age < 1 ? "now" : `${span(age)} ago`;
  }

  return {
    now, text, day, ago, zone: zoneName,
    /** The instant to the millisecond, with the name of its zone. */
    full: (at) => `${text(at, true)}.${String(Math.floor((at % 1) * 1000)).padStart(3, "0")} ${zoneName()}`,
    /** A frame has come, with the clock as it is now. */
    arrived: () => { received = performance.now(); },
    stands: () => read().speed === 0,
  };
}
