// Long tables: of many rows only those near the visible part are in the document, so that sorting and filtering stay fast.

const ROWS_WITHOUT_WINDOW = 150;
const ROWS_BEYOND = 8;

/** The rows of a table body within a scrolling region; `rowOf(key)` makes or remembers the row of a key. */
class RowWindow {
  constructor(scroller, body, rowOf) {
    Object.assign(this, { scroller, body, rowOf, keys: [], isWhole: false, from: 0, to: 0 });
    scroller.addEventListener("scroll", () => this.follow(), { passive: true });
    addEventListener("beforeprint", () => this.showAll());
  }

  /** Shows the rows of these keys in this order. */
  show(keys) {
    this.keys = keys;
    this.isWhole = keys.length <= ROWS_WITHOUT_WINDOW;
    this.from = this.to = -1;
    this.follow();
  }

  showAll() {
    if (!this.body.isConnected) return;
    this.isWhole = true;
    this.from = this.to = -1;
    this.follow();
  }

  follow() {
    const { from, to } = this.range();
    if (from >= this.from && to <= this.to && this.to >= 0) return;
    const count = this.keys.length;
    this.from = this.isWhole ? 0 : Math.max(0, from - ROWS_BEYOND);
    this.to = this.isWhole ? count : Math.min(count, to + ROWS_BEYOND);
    const rows = this.keys.slice(this.from, this.to).map((key, i) => {
      const row = this.rowOf(key);
      // The head has the first place.
      row.setAttribute("aria-rowindex", this.from + i + 2);
      return row;
    });
    this.body.replaceChildren(...this.space(this.from), ...rows, ...this.space(count - this.to));
    this.body.parentElement?.setAttribute("aria-rowcount", count + 1);
  }

  /** The rows that can be seen. */
  range() {
    if (this.isWhole) return { from: 0, to: this.keys.length };
    const height = this.rowHeight();
    const from = Math.min(Math.floor(this.scroller.scrollTop / height), Math.max(this.keys.length - 1, 0));
    return { from, to: Math.min(this.keys.length, from + Math.ceil((this.scroller.clientHeight || 800) / height)) };
  }

  rowHeight() {
    this.height ||= this.body.querySelector("tr:not(.space)")?.offsetHeight;
    return this.height || 45;
  }

  space(rows) {
    return rows > 0
      ? [element("tr", { class: "space", "aria-hidden": "true", style: { height: `${rows * this.rowHeight()}px` } })]
      : [];
  }
}
