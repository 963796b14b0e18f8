// A value that can be watched, and a hook that draws a component again when it changes.
import { useLayoutEffect, useState } from "./hooks.js";

export function store(value) {
  const watchers = new Set();
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const watcher of [...watchers]) watcher(value);
    },
    watch(watcher) {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
  };
}

export function useStore(of) {
  const [value, setValue] = useState(of.get);
  useLayoutEffect(() => {
    // It may have changed between drawing and watching.
    setValue(() => of.get());
    return of.watch((next) => setValue(() => next));
  }, [of]);
  return value;
}
