// Runs before the first paint, so that nothing flashes and nothing moves.
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  try {
    const kept = localStorage.getItem("theme");
    if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  } catch {
    // no storage: the system's theme
  }
})();
