// Light, dark, or as the system says. Colours are variables, so that nothing is drawn anew.

const THEMES = ["auto", "light", "dark"];

function storedTheme() {
  try {
    return localStorage.getItem("bench-theme") ?? "auto";
  } catch {
    return "auto"; // a browser may keep nothing for a page from disk
  }
}

function showTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = `Theme: ${theme}`;
  byId("theme").setAttribute("aria-label", `Theme is ${theme}; change it`);
}

byId("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme;
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
  showTheme(next);
  try {
    localStorage.setItem("bench-theme", next);
  } catch {
    // Then it is asked again the next time.
  }
});

showTheme(THEMES.includes(storedTheme()) ? storedTheme() : "auto");
