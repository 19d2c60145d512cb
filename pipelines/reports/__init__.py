"""What a replay shows to people: an overview, and a page for each alerted stay."""
