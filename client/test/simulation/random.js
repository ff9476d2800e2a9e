// @ts-check

/** Numbers that look random and are the same for the same seed: sfc32, small and fast. */
export class Random {
  #a;
  #b;
  #c;
  #count = 1;

  /** @param {number} seed */
  constructor(seed) {
    this.#a = seed | 0;
    this.#b = Math.imul(seed, 0x9e3779b9) | 0;
    this.#c = 0x5eed1e55;
    for (let round = 0; round < 12; round++) this.bits();
  }

  /** 32 bits. */
  bits() {
    const sum = (((this.#a + this.#b) | 0) + this.#count++) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** From 0 up to, but not, 1. */
  next() {
    return this.bits() / 4294967296;
  }

  /**
   * A whole number between two, both included.
   * @param {number} low
   * @param {number} high
   */
  between(low, high) {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  /** @param {number} probability */
  chance(probability) {
    return this.next() < probability;
  }

  /**
   * @template T
   * @param {readonly T[]} all
   * @returns {T}
   */
  pick(all) {
    return all[Math.floor(this.next() * all.length)];
  }

  /**
   * Some of them, in their order.
   * @template T
   * @param {readonly T[]} all
   */
  some(all, probability = 0.5) {
    return all.filter(() => this.chance(probability));
  }

  /** Another source, which goes on alike however much is drawn from this one. */
  fork() {
    return new Random(this.bits());
  }
}
