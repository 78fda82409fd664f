// The settings of MathJax on the site, whose files mkdocs_hooks.py puts into the folder mathjax.
window.MathJax = {
  config: ["TeX-AMS-MML_HTMLorMML-full.js"],
  messageStyle: "none",
  showMathMenu: false,
  "fast-preview": { disabled: true },
  MMLorHTML: { prefer: "HTML" },
  tex2jax: { inlineMath: [["\\(", "\\)"]], displayMath: [["\\[", "\\]"]], ignoreClass: ".*", processClass: "arithmatex" },
  "HTML-CSS": { availableFonts: [], webFont: "STIX-Web", imageFont: null, scale: 100 },
};
