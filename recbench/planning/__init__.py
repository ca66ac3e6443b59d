"""From a user's selection to runs that can start: names, identities, studies, forecasts, trials."""
