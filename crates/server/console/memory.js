/** What the browser remembers: in every window (`local`) or only in this one (`session`). It may be forbidden. */

const storages = { local: () => localStorage, session: () => sessionStorage };

/** What was remembered, or an empty string. */
export function recall(where, key) {
  try {
    return storages[where]().getItem(key) ?? '';
  } catch {
    return '';
  }
}

/** Remembers it; as long as the page lasts, if nothing else is allowed. */
export function remember(where, key, value) {
  try {
    if (value) storages[where]().setItem(key, value);
    else storages[where]().removeItem(key);
  } catch {
    // Even naming a storage that is forbidden throws.
  }
}
