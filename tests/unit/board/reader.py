"""What a reader sees of a board's page, and does to it: headless Chromium over the Debian driver."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement


class Reader:
    """What a reader sees of the first section, and does to it."""

    def __init__(self, driver: Chrome, path: Path) -> None:
        self.driver = driver
        driver.get(path.as_uri())
        self.section = self.all("section:not([hidden])", driver)[0]

    def all(self, selector: str, inside: Any = None) -> list[WebElement]:
        from selenium.webdriver.common.by import By

        found: list[WebElement] = (inside or self.section).find_elements(By.CSS_SELECTOR, selector)
        return found

    def log(self, kind: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]  # selenium's gap
        return entries

    def choose(self, control: str, text: str) -> None:
        from selenium.webdriver.support.select import Select

        Select(self.all(f"[data-control={control}]")[0]).select_by_visible_text(text)

    def options(self, control: str) -> list[str]:
        return [option.text for option in self.all(f"[data-control={control}] option")]

    def head(self, key: str) -> str:
        return self.all(f".main thead th[data-key={key}] button")[0].text

    def column(self, key: str) -> dict[str, str]:
        """The cells of a column by the row's name, lines joined."""
        return {
            self.all("td", row)[1].text: " ".join(self.all(f"td[data-key='{key}']", row)[0].text.split())
            for row in self.all(".main tr[data-row]")
        }

    def names(self) -> list[str]:
        return [self.all("td", row)[1].text for row in self.all(".main tr[data-row]")]

    def show(self, *columns: str) -> None:
        """Choose more columns."""
        self.driver.execute_script("arguments[0].open = true", self.all(".columns")[0])
        for column in columns:
            self.all(f"[data-column='{column}']")[0].click()

    def heads(self) -> list[str]:
        return [
            head.text.split("\n")[0].split(" ▼")[0]
            for head in self.all(".main thead th")
            if head.is_displayed()
        ]

    def ungroup(self) -> None:
        self.all("[data-control=group]")[0].click()

    def sort(self, text: str) -> None:
        [button] = [
            one for one in self.all(".main thead th button") if one.text.split(" ▲")[0].split(" ▼")[0] == text
        ]
        button.click()


def row_number(board: dict[str, Any], name: str) -> int:
    return [row["name"] for row in board["tables"][0]["rows"]].index(name)
