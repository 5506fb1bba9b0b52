const BYTE_UNITS = ["B", "kB", "MB", "GB", "TB", "PB"] as const;
const COUNT_UNITS = ["", "K", "M", "B", "T"] as const;

/** A number of bytes for people, in decimal units: `548 MB`. */
export function formatBytes(bytes: number): string {
  return scaled(bytes, BYTE_UNITS);
}

/** A number of parameters for people: `7.24 B`. */
export function formatParameters(count: number): string {
  return scaled(count, COUNT_UNITS);
}

/** A whole number, its thousands apart: `137,022,720`. */
export function formatCount(count: number): string {
  // `toLocaleString` would load tables of locales, which takes as long as a small conversion.
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** A share of a whole: `90.8 %`. */
export function formatShare(part: number, whole: number): string {
  return `${((whole === 0 ? 0 : part / whole) * 100).toFixed(1)} %`;
}

/** A time for people: `0.42 s`, `3 min 20 s`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** `1 tensor`, `2 tensors`. */
export function plural(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** Three digits that count, and a unit. */
function scaled(value: number, units: readonly string[]): string {
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[unit]}`.trimEnd();
}
